//! `brik check --format sarif|github`: findings for machines that show them where they are.

use serde_json::Value;

use crate::support::Project;

/// A repository whose brik.toml is below its top, with warnings and an error in one Dockerfile and a warning about brik.toml.
fn committed() -> Project {
    let toml = "registry = \"r.example.com/org\"\nmembers = [\"services/*\", \"jobs/*\"]\ntags = [\"v1\"]\n";
    let dockerfile = "FROM scratch as b\nCMD ü 100%\nSTOPSIGNAL SIG%NOPE\n";
    Project::empty().file("images/brik.toml", toml).file("images/services/api/Dockerfile", dockerfile).commit()
}

#[test]
fn github_gets_an_annotation_a_line() {
    let run = committed().brik(["-C", "images", "check", "--format", "github"]).exits(3);
    insta::assert_snapshot!(run.stdout, @r#"
    ::warning file=images/brik.toml,line=2,col=26,endColumn=34,endLine=2,title=brik%3A%3Aconfig%3A%3Ano-member::no directory that matches jobs/* has a Dockerfile
    ::error file=images/services/api/Dockerfile,line=3,col=12,endColumn=20,endLine=3,title=brik%3A%3Aplan%3A%3Ainvalid::invalid signal: SIG%25NOPE%0Ahelp: write a number or a name, as in 9, SIGKILL or RTMIN+3
    ::warning file=images/services/api/Dockerfile,line=1,col=14,endColumn=16,endLine=1,title=brik%3A%3Alint%3A%3AFromAsCasing::'as' and 'FROM' keywords' casing do not match%0Ahelp: `brik explain FromAsCasing` says more
    ::warning file=images/services/api/Dockerfile,line=2,col=5,endColumn=11,endLine=2,title=brik%3A%3Alint%3A%3AJSONArgsRecommended::JSON arguments recommended for CMD to prevent unintended behavior related to OS signals%0Ahelp: `brik explain JSONArgsRecommended` says more
    "#);
    assert_eq!(run.stderr, "1 service, 0 edges: 1 error, 3 warnings\n");
}

#[test]
fn from_a_directory_below_paths_are_the_same() {
    let project = committed();
    let above = project.brik(["-C", "images", "check", "--format", "github"]).exits(3).stdout;
    assert_eq!(project.brik(["-C", "images/services/api", "check", "--format", "github"]).exits(3).stdout, above);
}

#[test]
fn sarif_has_what_the_standard_requires() {
    let run = committed().brik(["-C", "images", "check", "--format", "sarif"]).exits(3);
    let log: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&log["version"], log["runs"].as_array().unwrap().len()), (&"2.1.0".into(), 1));
    assert_eq!(log["$schema"], "https://json.schemastore.org/sarif-2.1.0.json");
    let run = &log["runs"][0];
    assert_eq!((&run["tool"]["driver"]["name"], &run["columnKind"]), (&"brik".into(), &"unicodeCodePoints".into()));
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let mut ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rules.len(), "rules stand once");
    for rule in rules {
        assert!(rule["shortDescription"]["text"].is_string() && rule["help"]["markdown"].is_string(), "{rule}");
    }
    let results = run["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()), "{result}");
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uriBaseId"], "%SRCROOT%");
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.starts_with("images/"), "{uri}");
        let region = |key: &str| place["region"][key].as_u64().unwrap();
        assert!(region("startLine") >= 1 && region("startColumn") >= 1);
        assert!((region("endLine"), region("endColumn")) >= (region("startLine"), region("startColumn")), "{place}");
    }
}

#[test]
fn a_broken_configuration_is_told_in_every_format() {
    let project = Project::empty().file("brik.toml", "registy = \"x\"\n");
    let github = project.brik(["check", "--format", "github"]).exits(2);
    let line = "::error file=brik.toml,line=1,col=1,endColumn=8,endLine=1,title=brik%3A%3Aconfig%3A%3Aunknown-key::unknown key `registy`%0Ahelp: did you mean `registry`?\n";
    assert_eq!(github.stdout, line);
    let sarif: Value = serde_json::from_str(&project.brik(["check", "--format", "sarif"]).exits(2).stdout).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "brik::config::unknown-key");
    let nothing = Project::empty().brik(["check", "--format", "github"]).exits(2);
    assert!(nothing.stdout.starts_with("::error title=brik%3A%3Aconfig%3A%3Anot-found::no brik.toml in "), "{}", nothing.stdout);
}

#[test]
fn what_a_flag_says_is_annotated_without_a_file() {
    let run = committed().brik(["-C", "images", "check", "--format", "github", "--set", "buidl.jobs=1"]).exits(2);
    assert!(run.stdout.contains("\n::error title="), "{}", run.stdout);
}
