//! Where brik.toml, members and their files are found, and what they may not reach.

use super::*;

#[test]
fn members_are_the_directories_that_match_and_hold_a_dockerfile() {
    let directories = ["a/one", "a/two", "a/.hidden", "b/deep/three", "b/four"];
    for (members, expected) in [
        ("'a/*'", &["one", "two"][..]),
        ("'**'", &["four", "one", "three", "two"]),
        ("'b/**'", &["four", "three"]),
        ("'*/*', '!a/two'", &["four", "one"]),
        ("'a/one/', './b/four'", &["four", "one"]),
        ("'{a,b}/*o*'", &["four", "one", "two"]),
        ("'{a/one,b/deep/three}'", &["one", "three"]),
        ("'a/*', '**/one'", &["one", "two"]),
        ("", &[]),
    ] {
        let repository = Repository::new(&format!("members = [{members}]"), &directories);
        repository.write("a/none/x", "");
        assert_eq!(names(&repository.load().services), expected, "{members}");
    }
}

#[test]
fn a_pattern_of_many_double_stars_is_expanded_at_once_and_as_deep_as_one() {
    let deep = |levels: usize| "deep".to_owned() + &"/d".repeat(levels);
    let pattern = format!("deep{}/**/x", "/**/d".repeat(9));
    let directories = [deep(8) + "/x", deep(9) + "/x", deep(20) + "/x"];
    let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
    let repository = Repository::new(&format!("members = ['{pattern}', '!{}']", directories[1]), &directories);
    let began = Instant::now();
    let services = repository.load().services;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(services["x"].context, repository.root.join(directories[2]));
    // A `**` goes through 16 levels; the next one begins anew.
    let one = Repository::new("members = ['deep/**/x']", &directories[2..]);
    assert_eq!(one.labels(), ["no-member|brik.toml|'deep/**/x'"]);
}

#[test]
fn brik_toml_is_found_from_any_subdirectory_and_named_from_there() {
    let mut repository = Repository::new("nope = 1", &["services/api"]);
    repository.options.cwd = repository.path().join("services/api");
    assert_eq!(repository.findings()[0].one_line(), "../../brik.toml:1:1: unknown key `nope`");
    repository.write("brik.toml", "members = ['services/*']");
    let config = repository.load();
    assert_eq!(config.root, repository.root);
    assert_eq!(names(&config.services), ["api"]);
    repository.write("services/other.toml", "");
    repository.options.file = Some("../other.toml".into());
    assert_eq!(repository.load().root, config.root.join("services"));
    repository.options.file = Some("gone.toml".into());
    assert_eq!(repository.labels(), ["not-found|"]);
    let empty = tempfile::tempdir().unwrap();
    let options = LoadOptions { cwd: empty.path().to_owned(), ..LoadOptions::default() };
    assert_eq!(load(&options, &Disk).unwrap_err().0[0].code, "brik::config::not-found");
}

#[test]
fn paths_may_not_leave_the_repository() {
    let outer = Repository::new("", &["services/api", "shared"]);
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("Dockerfile"), "FROM scratch").unwrap();
    std::os::unix::fs::symlink(secret.path(), outer.path().join("link")).unwrap();
    std::os::unix::fs::symlink(secret.path().join("Dockerfile"), outer.path().join("shared/Dockerfile.link")).unwrap();
    std::os::unix::fs::symlink("shared", outer.path().join("inside")).unwrap();
    for (toml, label) in [
        ("[services.x]\ncontext = '../..'", "path|brik.toml|'../..'"),
        ("[services.x]\ncontext = 'shared/../../x'", "path|brik.toml|'shared/../../x'"),
        ("[services.x]\ncontext = 'link'", "path|brik.toml|'link'"),
        ("[services.x]\ncontext = 'link/..'", "path|brik.toml|'link/..'"),
        ("[services.x]\ncontext = 'shared'\ndockerfile = 'shared/Dockerfile.link'", "path|brik.toml|'shared/Dockerfile.link'"),
        ("members = ['link']", "path|brik.toml|'link'"),
        ("[services.x]\ncontext = 'shared'\ncontexts = { y = 'link' }", "path|brik.toml|'link'"),
        ("[build]\nca_certs = 'shared/Dockerfile.link'", "path|brik.toml|'shared/Dockerfile.link'"),
        ("[build]\nca_certs = 'link/Dockerfile'", "path|brik.toml|'link/Dockerfile'"),
        ("[build]\nca_certs = 'shared'", "path|brik.toml|'shared'"),
        ("[services.x]\ncontext = 'shared'\ncontexts = { y = 'oci-layout://../x:1' }", "path|brik.toml|'oci-layout://../x:1'"),
    ] {
        outer.write("brik.toml", toml);
        assert_eq!(outer.labels(), [label], "{toml}");
    }
    // Certificates may lie where brik.toml itself says, or not yet.
    for path in ["../elsewhere.pem", "/etc/ssl/ca.pem", "missing.pem"] {
        outer.write("brik.toml", &format!("[build]\nca_certs = '{path}'"));
        let within = path.starts_with('m').then(|| outer.load().repository);
        assert_eq!(outer.load().build.ca_certs.unwrap().within, within, "{path}");
    }
    outer.write("brik.toml", "[services.x]\ncontext = 'inside'");
    assert_eq!(outer.load().services["x"].context, outer.path().join("shared"));
    // Up to the top level of the git repository is inside.
    let mut inner = outer;
    inner.write("team/brik.toml", "[services.x]\ncontext = '../shared'");
    inner.options.cwd = inner.path().join("team");
    assert_eq!(inner.load().services["x"].context, inner.load().repository.join("shared"));
}

#[test]
fn a_dockerfile_is_found_from_brik_toml_or_from_the_context() {
    for (dockerfile, found) in [
        ("services/api/Dockerfile.dev", "services/api/Dockerfile.dev"),
        ("Dockerfile.dev", "services/api/Dockerfile.dev"),
        ("build/D", "build/D"),
    ] {
        let repository = Repository::new(&format!("[services.x]\ncontext = 'services/api'\ndockerfile = '{dockerfile}'"), &[]);
        repository.write("services/api/Dockerfile.dev", "");
        repository.write("build/D", "");
        assert_eq!(repository.load().services["x"].dockerfile, repository.path().join(found));
    }
}
