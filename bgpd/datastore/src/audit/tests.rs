use bytes::Bytes;
use margay_model::Key;

use super::*;

fn line(number: u8) -> Line {
    let key = Key::Block(format!("10.0.{number}.0/26").parse().unwrap());
    let mut txn = Txn::create(key.clone(), Bytes::from_static(b"secret"), vec![]);
    txn.writes.push(Write::Delete { key: Key::cluster(margay_model::Kind::IpPool, "a") });
    let actor = Actor { component: "c".into(), node: "n".into(), user: Some("u".into()) };
    let mut line = Line::of(&txn, &actor);
    line.time = 7;
    line.committed(Revision(9), &[None, Some(Revision(3))]);
    line
}

#[test]
fn a_line_says_who_what_and_both_revisions_but_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    AuditLog::open(&path).unwrap().write(&line(1)).unwrap();
    AuditLog::open(&path).unwrap().write(&line(2)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[0],
        concat!(
            r#"{"time":7,"component":"c","node":"n","user":"u","outcome":"committed","writes":["#,
            r#"{"key":"/margay/ipam/v1/blocks/10.0.1.0-26","what":"put","#,
            r#""old_revision":null,"new_revision":9},"#,
            r#"{"key":"resources/v3/projectcalico.org/ippools/a","what":"delete","#,
            r#""old_revision":3,"new_revision":null}]}"#
        )
    );
}

#[test]
fn files_are_put_aside_by_size_and_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut log = AuditLog::open_with(&path, 1000).unwrap();
    for number in 0..100 {
        log.write(&line(number)).unwrap();
    }
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let wanted =
        ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3", "audit.jsonl.4"];
    assert_eq!(names, wanted);
    for name in names {
        assert!(fs::metadata(folder.path().join(name)).unwrap().len() <= 1000);
    }
    let last = fs::read_to_string(&path).unwrap();
    assert!(last.contains("10.0.99.0-26"));
}

#[test]
fn nothing_is_put_aside_while_no_new_file_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut log = AuditLog::open_with(&path, 1000).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    (0..20).for_each(|number| log.write(&line(number)).unwrap());
    let names = ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3", "audit.jsonl.4"];
    let before = names.map(read);
    // Where the new file would be stands what is no file.
    fs::create_dir(folder.path().join("audit.jsonl.0")).unwrap();
    let failed = (20..30).filter(|number| log.write(&line(*number)).is_err()).count();
    assert!(failed >= 8, "{failed} were refused");
    let kept = names.map(read);
    assert!(kept[0].starts_with(&before[0]));
    assert_eq!(kept[1..], before[1..]);
    // And goes on when it can.
    fs::remove_dir(folder.path().join("audit.jsonl.0")).unwrap();
    log.write(&line(30)).unwrap();
    assert_eq!(names.map(read)[1], kept[0]);
    assert!(read("audit.jsonl").contains("10.0.30.0-26"));
}
