use serde_json::json;

use super::*;

#[track_caller]
fn renders(template: &str, expected: &str) {
    let data = json!([{
        "kind": "IPPoolList",
        "items": [
            { "metadata": { "name": "a", "labels": { "z": "1", "b": "2" } },
              "spec": { "cidr": "10.0.0.0/16", "natOutgoing": true, "allowedUses": ["Workload", "Tunnel"] } },
            { "metadata": { "name": "b" }, "spec": { "cidr": "10.1.0.0/16", "blockSize": 26 } },
        ],
    }]);
    let text = GoTemplate::parse(template).and_then(|template| template.render(&data, 64512));
    assert_eq!(text.as_deref(), Ok(expected), "{template}");
}

#[track_caller]
fn fails(template: &str, part: &str) {
    let text = GoTemplate::parse(template).and_then(|template| template.render(&json!([]), 1));
    let error = text.expect_err(template).to_string();
    assert!(error.contains(part), "{template}: {error}");
}

#[test]
fn fields_have_the_names_of_json_or_of_go() {
    renders(
        "{{range .}}{{range .Items}}{{.ObjectMeta.Name}}={{.Spec.CIDR}} {{end}}{{end}}",
        "a=10.0.0.0/16 b=10.1.0.0/16 ",
    );
    renders("{{range .}}{{range .items}}{{.metadata.name}}{{end}}{{end}}", "ab");
    renders("{{range .}}{{range .Items}}{{.Name}}{{end}}{{.Kind}}{{end}}", "abIPPoolList");
    renders("{{range .}}{{.nothing.at.all}}{{end}}", "");
}

#[test]
fn blocks_choose_and_repeat() {
    renders(
        "{{range .}}{{range $i, $p := .Items}}{{if $i}},{{end}}{{$i}}:{{$p.Name}}{{end}}{{end}}",
        "0:a,1:b",
    );
    renders(
        "{{range .}}{{range .Items}}{{if .Spec.NATOutgoing}}y{{else}}n{{end}}{{end}}{{end}}",
        "yn",
    );
    renders(
        "{{range .}}{{range .Items}}{{if eq .Name \"x\"}}1{{else if eq .Name \"b\"}}2{{else}}3{{end}}{{end}}{{end}}",
        "32",
    );
    renders(
        "{{range .}}{{range .Items}}{{with .Spec.blockSize}}{{.}}{{else}}-{{end}}{{end}}{{end}}",
        "-26",
    );
    renders("{{range .}}{{range .none}}x{{else}}none{{end}}{{end}}", "none");
    renders(
        "{{range .}}{{with index .Items 0}}{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}{{end}}{{end}}",
        "b=2;z=1;",
    );
    renders("{{$n := 1}}{{range .}}{{$n = 2}}{{$m := 3}}{{end}}{{$n}}", "2");
}

#[test]
fn functions_take_values_and_pipelines() {
    renders("{{(index (index . 0).Items 0).Name}}", "a");
    renders("{{join (index (index . 0).Items 0).Spec.AllowedUses \",\"}}", "Workload,Tunnel");
    renders(
        "{{joinAndTruncate (index (index . 0).Items 0).Spec.AllowedUses \",\" 10}}",
        "Workloa...",
    );
    renders("{{config \"asnumber\"}}", "64512");
    renders("{{len (index . 0).Items | printf \"%3d|%-3d|\" 7}}", "  7|2  |");
    renders("{{printf \"%s %q %v%%\" \"a\" \"b\" 3}}", "a \"b\" 3%");
    renders(
        "{{and true 0}} {{or 0 \"x\"}} {{not 1}} {{ne 1 2}} {{lt 1 2}}{{gt 1 2}}{{le 2 2}}{{ge 1 2}}",
        "0 x false true truefalsetruefalse",
    );
    renders("{{print \"a\" 1}}{{println \"b\" 2}}", "a1b 2\n");
    renders(
        "{{(index (index . 0).Items 0).Spec.AllowedUses}} {{(index (index . 0).Items 0).Labels}}",
        "[Workload Tunnel] map[b:2 z:1]",
    );
}

#[test]
fn blanks_and_comments_go_where_it_is_said() {
    renders("a {{- 1 -}} b{{/* no */}}c{{- /* no */ -}} d", "a1bcd");
    renders("{{\"a\\n\"}}{{`b\\n`}}", "a\nb\\n");
}

#[test]
fn what_is_wrong_is_said() {
    for (template, part) in [
        ("{{", "not closed"),
        ("{{if .}}", "without {{end}}"),
        ("{{range .}}{{else}}", "without {{end}}"),
        ("{{end}}", "without a block"),
        ("{{else}}", "without a block"),
        ("{{\"a}}", "not closed"),
        ("{{(1}}", "parenthesis"),
        ("{{1)}}", "parenthesis"),
        ("{{1 |}}", "missing"),
        ("{{}}", "missing"),
        ("{{$x}}", "$x is not defined"),
        ("{{teapot 1}}", "\"teapot\" is not supported"),
        ("{{template \"x\"}}", "{{template}} is not supported"),
        ("{{range 1}}{{end}}", "range over 1"),
        ("{{join 1}}", "join is given 1"),
        ("{{. 1}}", "only a function"),
        ("{{printf \"%x\" 1}}", "%x is not supported"),
        ("{{printf \"%s\"}}", "too few"),
        ("{{printf \"\" 1}}", "too many"),
        ("{{#}}", "means nothing"),
    ] {
        fails(template, part);
    }
    fails(&"{{if 1}}".repeat(100), "in each other");
    fails(&format!("{{{{{}}}}}", "(".repeat(100)), "in each other");
}
