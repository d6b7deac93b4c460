//! What is wrong, where, and how to fix it.

use super::*;

#[test]
fn every_class_of_bad_input_is_labelled_on_its_bytes() {
    for (toml, label) in [
        ("registy = 'x'", "unknown-key|brik.toml|registy"),
        ("[services.api]\ndockerfil = 'x'", "unknown-key|brik.toml|dockerfil"),
        ("[services.api.cache]\nrep = 'x'", "unknown-key|brik.toml|rep"),
        ("[volumes]\nx = 1", "unknown-key|brik.toml|volumes"),
        ("[services.api]\nsecrets = [{ id = 'a', fil = 'b' }]", "unknown-key|brik.toml|fil"),
        ("registry = 5", "wrong-type|brik.toml|5"),
        ("tags = 'x'", "wrong-type|brik.toml|'x'"),
        ("tags = ['x', 1.5]", "wrong-type|brik.toml|1.5"),
        ("args = { V = 1.20 }", "wrong-type|brik.toml|1.20"),
        ("[services]\napi = 'x'", "wrong-type|brik.toml|'x'"),
        ("[services.api]\ncache = 7", "wrong-type|brik.toml|7"),
        ("[build]\njobs = 99999999999999999999", "wrong-type|brik.toml|99999999999999999999"),
        ("[build]\njobs = 0", "out-of-range|brik.toml|0"),
        ("[build]\nformat = 'OCI'", "unknown-value|brik.toml|'OCI'"),
        ("[build]\ntimestamps = 'normalised'", "unknown-value|brik.toml|'normalised'"),
        ("[policy]\nextends = 'brikbite'", "unknown-value|brik.toml|'brikbite'"),
        ("registry = 'https://ghcr.io/org'", "invalid-registry|brik.toml|https://"),
        ("registry = 'ghcr.io/Org'", "invalid-registry|brik.toml|'ghcr.io/Org'"),
        ("registry = ''", "empty|brik.toml|''"),
        ("platforms = ['linux/amd64', 'amd64']", "invalid-platform|brik.toml|'amd64'"),
        ("platforms = ['windows/amd64']", "unsupported-platform|brik.toml|'windows/amd64'"),
        ("platforms = ['linux/amr64']", "unsupported-platform|brik.toml|'linux/amr64'"),
        ("tags = ['v{versoin}']", "invalid-tag|brik.toml|{versoin}"),
        ("tags = [\"\"\"a b\"\"\"]", "invalid-tag|brik.toml| "),
        ("tags = [\"a\\u0020b\"]", "invalid-tag|brik.toml|\"a\\u0020b\""),
        ("members = ['services/*', 'a[']", "invalid-glob|brik.toml|'a['"),
        ("members = ['/srv/*']", "absolute-path|brik.toml|'/srv/*'"),
        ("members = ['services/*', 'services/none']", "no-dockerfile|brik.toml|'services/none'"),
        ("members = ['services/*', 'lib/*']", "no-member|brik.toml|'lib/*'"),
        ("members = ['services/*', '../*']", "no-member|brik.toml|'../*'"),
        ("members = ['services/*', 'bad/*']", "invalid-service|brik.toml|'bad/*'"),
        ("members = ['services/*', 'other/*']", "duplicate-member|brik.toml|'other/*'"),
        ("[services.API]\nimage = 'x'", "invalid-service|brik.toml|API"),
        ("[services.api]\nimage = 'x:v1'", "tagged-image|brik.toml|:v1"),
        ("[services.api]\nimage = 'Api'", "invalid-reference|brik.toml|'Api'"),
        ("[services.api]\ncache = 'a b'", "invalid-reference|brik.toml|'a b'"),
        ("[services.api]\nimage = 'web'", "duplicate-image|brik.toml|'web'"),
        ("[services.api]\nimage = 'q.io/web'\n[services.web]\nimage = 'q.io/web-cache'", "cache-is-image|brik.toml|'q.io/web-cache'"),
        ("[services.api]\nimage = 'q.io/x'\n[services.web]\ncache = 'q.io/x'", "cache-is-image|brik.toml|'q.io/x'"),
        ("[services.apy]\ntarget = 'x'", "no-context|brik.toml|apy"),
        ("[services.x]\ncontext = 'lib'", "no-dockerfile|brik.toml|'lib'"),
        ("[services.x]\ncontext = 'none'", "path|brik.toml|'none'"),
        ("[services.x]\ncontext = 'brik.toml'", "path|brik.toml|'brik.toml'"),
        ("[services.x]\ncontext = '/etc'", "absolute-path|brik.toml|'/etc'"),
        ("[services.api]\ndockerfile = 'none'", "path|brik.toml|'none'"),
        ("[services.api]\nneeds = ['web', 'wep']", "unknown-service|brik.toml|'wep'"),
        ("[services.api]\nneeds = ['api']", "needs-itself|brik.toml|'api'"),
        ("[services.api.contexts]\nx = 'service:wep'", "unknown-service|brik.toml|'service:wep'"),
        ("[services.api.contexts]\nx = 'docker-image://A'", "invalid-reference|brik.toml|'docker-image://A'"),
        ("[services.api.contexts]\nx = 'none'", "path|brik.toml|'none'"),
        ("[services.api]\nsecrets = ['a b']", "invalid-id|brik.toml|'a b'"),
        ("[services.api]\nsecrets = ['a', { id = 'a' }]", "duplicate-id|brik.toml|{ id = 'a' }"),
        ("[services.api]\nsecrets = [{ id = 'a', env = 'A', file = 'b' }]", "secret|brik.toml|{ id = 'a', env = 'A', file = 'b' }"),
        ("[services.api]\nsecrets = [{ env = 'A' }]", "missing-key|brik.toml|{ env = 'A' }"),
        ("[services.api]\nssh = ['x', 'x']", "duplicate-id|brik.toml|'x'"),
        ("[services.api.args]\n1x = 'a'", "invalid-variable|brik.toml|1x"),
        ("[registries.ghcr]\ninsecure = true", "invalid-host|brik.toml|ghcr"),
        ("[registries.'m:5000']\ninsecure = 'yes'", "wrong-type|brik.toml|'yes'"),
        ("members = ['a'", "syntax|brik.toml|"),
        ("a = 1\na = 2", "syntax|brik.toml|a"),
        ("registry = \"gh", "syntax|brik.toml|"),
    ] {
        let toml = if toml.starts_with("members") || toml.contains("\na = 2") {
            toml.to_owned()
        } else {
            format!("members = ['services/*']\n{toml}")
        };
        let repository = Repository::new(&toml, &["services/api", "services/web", "other/api", "bad/Up"]);
        repository.write("lib/x", "");
        assert_eq!(repository.labels(), [label], "{toml}");
    }
}

#[test]
fn the_fix_is_said_where_there_is_one() {
    for (toml, help) in [
        ("registy = 'x'", "did you mean `registry`?"),
        ("tags = 'x'", "write ['x']"),
        ("args = { V = 1.20 }", "write \"1.20\""),
        ("registry = 'https://ghcr.io/org/'", "write \"ghcr.io/org\""),
        ("registry = 'https://u:hunter2pw@ghcr.io/org/'", "write \"ghcr.io/org\""),
        ("[services.apy]\ntarget = 'x'", "did you mean `api`?"),
        ("[services.api]\nneeds = ['wep']", "did you mean `web`?"),
        ("[build]\nformat = 'OCI'", "did you mean `oci`?"),
        (
            "[build]\nx = 1",
            "known keys here: ca_certs, exact_labels, format, isolation, jobs, memory, network, processes, registry_timeout, timestamps",
        ),
    ] {
        let repository = Repository::new(&format!("members = ['services/*']\n{toml}"), &["services/api", "services/web"]);
        let findings = repository.findings();
        assert_eq!(findings[0].help.as_deref(), Some(help), "{toml}: {findings:#?}");
    }
}

#[test]
fn all_errors_of_all_layers_are_told_at_once_in_order() {
    let toml = "members = ['services/*']\nregisty = 'x'\ntags = 5\n[services.api]\nneeds = ['nobody']\nimage = 'web'\ncontext = '../..'\n";
    let repository = Repository::new(toml, &["services/api", "services/web"]);
    repository.write("brik.ci.toml", "[build]\njobs = 'many'\n");
    let repository = repository
        .env(&[("BRIK_ENV", "ci"), ("BRIK_PLATFORMS", "linux/amd64, arm"), ("BRIK_BUILD__JOB", "3"), ("BRIK_STORE", "/x")])
        .set(&["services.api.tagz+=x", "services.api.tags+=a b", "registry=a b"]);
    assert_eq!(
        repository.labels(),
        [
            "unknown-key|brik.toml|registy",
            "wrong-type|brik.toml|5",
            "path|brik.toml|'../..'",
            "wrong-type|brik.ci.toml|'many'",
            "unknown-key|$BRIK_BUILD__JOB|3",
            "invalid-platform|$BRIK_PLATFORMS|arm",
            "unknown-key|--set|tagz",
            "invalid-tag|--set| ",
            "invalid-registry|--set|a b",
        ]
    );
    let shown = repository.findings().last().unwrap().one_line();
    assert!(shown.starts_with("--set:1:10: invalid registry \"a b\""), "{shown}");
}

#[test]
fn a_malformed_assignment_is_labelled_in_itself() {
    for (set, label) in [
        ("registry", "invalid-set|--set|registry"),
        ("registry+=x", "invalid-set|--set|+="),
        ("a b=x", "syntax|--set|a b"),
        ("=x", "syntax|--set|"),
        ("tags=['x'", "syntax|--set|"),
        ("build.jobs=many", "wrong-type|--set|many"),
        ("services.api.secrets+={id='a',x=1}", "unknown-key|--set|x"),
        ("services.nobody.target=x", "no-context|--set|nobody"),
    ] {
        let repository = Repository::new("members = ['services/*']", &["services/api"]).set(&[set]);
        assert_eq!(repository.labels(), [label], "{set}");
    }
}

#[test]
fn a_finding_about_merged_values_points_into_the_layer_that_said_it() {
    let toml = "members = ['services/*']\n[services.api]\nneeds = ['web']\nimage = 'api'\n";
    let repository = Repository::new(toml, &["services/api", "services/web"]);
    repository.write("brik.ci.toml", "[services.api]\nneeds = ['ghost']\ncontext = 'gone'\n");
    let repository = repository.env(&[("BRIK_ENV", "ci")]);
    assert_eq!(repository.labels(), ["path|brik.ci.toml|'gone'"]);
    let repository = repository.set(&["services.api.context=services/api", "services.web.image=api", "services.api.needs+=spook"]);
    assert_eq!(repository.labels(), ["unknown-service|brik.ci.toml|'ghost'", "duplicate-image|--set|api", "unknown-service|--set|spook"]);
}

#[test]
fn bytes_that_are_no_text_and_files_beyond_measure_are_refused() {
    let repository = Repository::new("", &[]);
    std::fs::write(repository.path().join("brik.toml"), b"a = \"\xff\"").unwrap();
    assert_eq!(repository.labels(), ["syntax|brik.toml|\u{fffd}"]);
    std::fs::write(repository.path().join("brik.toml"), vec![b'#'; (8 << 20) + 1]).unwrap();
    assert_eq!(repository.labels(), ["unreadable|"]);
    for toml in [format!("a = {}", "[".repeat(100_000)), format!("{}a = 1", "a.".repeat(100_000))] {
        repository.write("brik.toml", &toml);
        assert!(repository.labels()[0].starts_with("syntax|"), "{:?}", repository.labels());
    }
}

#[test]
fn credentials_in_registry_url_reach_neither_findings_nor_the_config() {
    let repository = Repository::new("nope = 1", &[]).env(&[("REGISTRY_URL", "https://me:hunter2@bad host/")]);
    let findings = repository.findings();
    let shown = serde_json::to_string(&findings).unwrap() + &format!("{findings:?}");
    assert_eq!(findings.len(), 2);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(findings.iter().all(|finding| !finding.location.as_ref().unwrap().source.text.contains("hunter2")));
}

#[test]
fn credentials_without_a_scheme_reach_no_finding() {
    for toml in [
        "registry = 'https://u:hunter2pw@h/x'",
        "registry = 'https://u:p/hunter2pw@h/x'",
        "[registries.'docker.io']\nmirror = 'u:hunter2pw@h:1'",
        "[registries.'u:hunter2pw@docker.io']\ninsecure = true",
        "[services.api]\ncache = 'u:hunter2pw@h/x'",
        "[services.api]\nimage = 'u:hunter2pw@h/x'",
    ] {
        let repository = Repository::new(&format!("members = ['services/*']\n{toml}\n"), &["services/api"]);
        let findings = repository.findings();
        let text = findings.iter().map(|finding| finding.location.as_ref().unwrap().source.text.to_string());
        let shown = serde_json::to_string(&findings).unwrap() + &text.collect::<String>();
        assert!(findings.len() == 1 && !shown.contains("hunter2pw"), "{toml}: {shown}");
    }
}
