//! `--progress json`: what real runs say is what the schema says, no less and no more.

use serde_json::{Value, json};

use crate::support::{Project, Run, repository};

const SERVICES: &str = "members = [\"*\"]\ntags = [\"v1\"]";

fn schema() -> Value {
    serde_json::from_slice(&std::fs::read(repository().join("schema/progress.schema.json")).unwrap()).unwrap()
}

/// What is wrong with `value`. Knows the keywords that the schema uses, and no others. A property that the schema does not name is
/// wrong here: JSON Schema would let it pass.
fn faults(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let (rules, found) = (schema.as_object().unwrap(), |rule: &Value, value: &Value| faults(root, rule, value, at));
    let refuse = |what: String| vec![format!("{at}: {what}")];
    let of_keyword = |(keyword, rule): (&String, &Value)| match keyword.as_str() {
        "$schema" | "title" | "description" | "format" | "$defs" => Vec::new(),
        "$ref" => found(&root["$defs"][rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap()], value),
        "anyOf" | "oneOf" => match rule.as_array().unwrap().iter().filter(|rule| found(rule, value).is_empty()).count() {
            1 => Vec::new(),
            fits => refuse(format!("{fits} alternatives fit {value}")),
        },
        "type" => {
            let is = |name: &Value| match name.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64(),
                "number" => value.is_number(),
                "null" => value.is_null(),
                other => panic!("unknown type {other}"),
            };
            let fits = rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is));
            if fits { Vec::new() } else { refuse(format!("{value} is no {rule}")) }
        }
        "const" if value != rule => refuse(format!("{value} is not {rule}")),
        "enum" if !rule.as_array().unwrap().contains(value) => refuse(format!("{value} is none of {rule}")),
        "minimum" if value.as_f64() < rule.as_f64() => refuse(format!("{value} is less than {rule}")),
        "const" | "enum" | "minimum" => Vec::new(),
        "items" => value.as_array().into_iter().flatten().flat_map(|item| found(rule, item)).collect(),
        "required" => {
            let missing = rule.as_array().unwrap().iter().filter(|name| value.get(name.as_str().unwrap()).is_none());
            missing.flat_map(|name| refuse(format!("{name} is missing"))).collect()
        }
        "properties" => {
            let of_property = |(name, value): (&String, &Value)| match rule.get(name) {
                Some(rule) => faults(root, rule, value, &format!("{at}.{name}")),
                None => refuse(format!("{name} is not in the schema")),
            };
            value.as_object().into_iter().flatten().flat_map(of_property).collect()
        }
        other => panic!("the check of this test does not know {other:?}"),
    };
    rules.iter().flat_map(of_keyword).collect()
}

#[track_caller]
fn is_as_the_schema_says(run: &Run) -> Vec<String> {
    let schema = schema();
    let events = run.events();
    for event in &events {
        let found = faults(&schema, &schema, event, "");
        assert!(found.is_empty(), "{event}\n{}", found.join("\n"));
    }
    events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_line_of_a_run_is_what_the_schema_says() {
    let project = Project::monorepo(SERVICES)
        .file("api/Dockerfile", "FROM {busybox}\nRUN head -c 3000000 /dev/zero | tr '\\0' x\nCMD echo hello\n")
        .file("web/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let run = project.brik(["build", "--push", "--progress", "json", "--output", "oci:out"]).succeeds();
    let seen = is_as_the_schema_says(&run);
    let of_a_build = [
        "start",
        "warning",
        "sandbox",
        "planned",
        "step_started",
        "layer_progress",
        "step_output",
        "output_clipped",
        "step_finished",
        "push_finished",
        "service_finished",
        "export_started",
        "export_finished",
        "finished",
    ];
    for kind in of_a_build {
        assert!(seen.iter().any(|seen| seen == kind), "{kind} is not in {seen:?}");
    }
}

/// The last events of a run that fails: its errors.
#[track_caller]
fn errors(run: &Run) -> Vec<Value> {
    assert_eq!(is_as_the_schema_says(run)[0], "start");
    run.events_of("error")
}

#[test]
fn every_line_of_a_run_that_fails_is_an_event_too() {
    let project = Project::monorepo(SERVICES).file("api/Dockerfile", "FROM {busybox}\nRUN true\n");
    let project = project.file("web/Dockerfile", "FROM {busybox}\nRUN --mount=type=secret,id=t,required=true true\n");
    let build = |args: &[&str]| {
        project.brik(["build", "--progress", "json"]).args(args).env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "/no/such/file")
    };
    let run = build(&["--keep-going"]).exits(1);
    let [error] = &errors(&run)[..] else { panic!("{}", run.stderr) };
    assert_eq!((&error["code"], &error["file"], &error["line"]), (&json!("brik::build::failed"), &json!("web/Dockerfile"), &json!(2)));
    assert!(error["message"].as_str().unwrap().starts_with("[web stage-0 1/1] secret"), "{error}");
    assert!(error["help"].as_str().unwrap().starts_with("pass --secret id=t"), "{error}");
    let last = run.events().pop().unwrap();
    assert_eq!((&last["type"], &last["success"]), (&json!("finished"), &json!(false)));
    assert!(run.events_of("warning").iter().any(|warning| warning["message"].as_str().unwrap().contains("GITHUB_STEP_SUMMARY")));

    let late = build(&["api", "--metadata-file", "/dev/full"]).exits(1);
    assert!(errors(&late)[0]["message"].as_str().unwrap().contains("/dev/full"), "{}", late.stderr);
    assert_eq!(late.events().pop().unwrap()["success"], false);

    let usage = build(&["nobody"]).exits(2);
    assert_eq!(errors(&usage).len(), 1, "{}", usage.stderr);
    project.write("web/Dockerfile", "FROM scratch\nFETCH x\n");
    let parsed = build(&[]).exits(2);
    assert_eq!((&errors(&parsed)[0]["file"], &errors(&parsed)[0]["line"]), (&json!("web/Dockerfile"), &json!(2)));
}

#[test]
fn the_check_of_this_test_refuses_what_is_wrong() {
    let schema = schema();
    let refused = |text: &str| !faults(&schema, &schema, &serde_json::from_str(text).unwrap(), "").is_empty();
    assert!(!refused(r#"{"type":"notice","message":"m"}"#));
    for wrong in [
        r#"{"type":"notice"}"#,
        r#"{"type":"notice","message":1}"#,
        r#"{"type":"notice","message":"m","more":1}"#,
        r#"{"type":"unheard_of"}"#,
        r#"{"type":"step_finished","id":1,"outcome":"burnt","seconds":1.0}"#,
        r#"{"type":"step_finished","id":-1,"outcome":"built","seconds":1.0}"#,
    ] {
        assert!(refused(wrong), "{wrong}");
    }
}
