use std::collections::BTreeMap;

use flate2::read::GzDecoder;

use super::*;

#[test]
fn an_archive_holds_what_was_answered_and_says_what_was_not() {
    let path = env::temp_dir().join(format!("margay-archive-{}.tar.gz", std::process::id()));
    let _ = fs::remove_file(&path);
    let mut archive = Archive::create(&path, "diags".into()).expect("a new file");
    archive.add("status.txt", Answer::whole(b"all is well\n".to_vec())).expect("added");
    archive.add("peers/a.txt", Answer::none("no answer")).expect("added");
    archive.finish().expect("written");
    let mut found = BTreeMap::new();
    let mut tar = tar::Archive::new(GzDecoder::new(File::open(&path).expect("the file")));
    for entry in tar.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        found.insert(entry.path().expect("a path").display().to_string(), text);
    }
    assert_eq!(found["diags/status.txt"], "all is well\n");
    assert_eq!(found["diags/problems.txt"], "peers/a.txt: no answer\n");
    let taken = Archive::create(&path, "diags".into()).err().expect("never over another file");
    assert!(taken.text().contains("exists"), "{}", taken.text());
    fs::remove_file(&path).expect("our own file");
}

#[test]
fn names_of_peers_stay_in_their_folder() {
    assert_eq!(file_name("../../etc/passwd"), "_.._etc_passwd");
    assert_eq!(file_name("2001:db8::1"), "2001:db8::1");
    assert_eq!(file_name("tor 1%eth0"), "tor_1_eth0");
}

#[test]
fn only_commands_of_this_version_are_asked() {
    let commands = Cli::command();
    assert!(is_known(&commands, &["-o", "json", "peers"]) && is_known(&commands, &["status"]));
    assert!(!is_known(&commands, &["no-such-command"]));
    for (name, arguments) in QUESTIONS {
        let mut all = vec!["margay"];
        all.extend(arguments);
        let parsed = <Cli as clap::Parser>::try_parse_from(all);
        assert!(parsed.is_ok() || !is_known(&commands, arguments), "{name}: {arguments:?}");
    }
}

#[test]
fn the_name_of_an_archive_has_its_time() {
    assert_eq!(stamp(1_772_357_400), "20260301-093000");
}
