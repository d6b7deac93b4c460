//! Which layer wins.

use super::*;

#[test]
fn each_layer_is_stronger_than_the_one_before() {
    let registry = |config: &Config| config.registry.clone().unwrap_or_default();
    let mut repository = Repository::new("members = ['services/*']", &["services/api"]);
    let config = repository.load();
    assert_eq!((registry(&config), config.platforms), (String::new(), vec![crate::oci::Platform::host()]));
    assert_eq!(config.services["api"].image.to_string(), "docker.io/library/api");
    assert_eq!(config.services["api"].cache, None);
    repository.write("brik.toml", "members = ['services/*']\nregistry = 'file.io/org/team'");
    assert_eq!(registry(&repository.load()), "file.io/org/team");
    repository.write("brik.ci.toml", "registry = 'overlay.io/org/team'");
    repository.options.environment = Some("ci".into());
    assert_eq!(registry(&repository.load()), "overlay.io/org/team");
    repository = repository.env(&[("REGISTRY_URL", "https://url.io/")]);
    assert_eq!(registry(&repository.load()), "url.io/org/team");
    repository = repository.env(&[("BRIK_REGISTRY", "variable.io")]);
    assert_eq!(registry(&repository.load()), "variable.io");
    repository = repository.set(&["registry=first.io"]);
    assert_eq!(registry(&repository.load()), "first.io");
    repository = repository.set(&["registry=second.io"]);
    assert_eq!(registry(&repository.load()), "second.io");
}

#[test]
fn registry_url_gives_the_host_and_keeps_the_path() {
    for (url, toml, registry) in [
        ("ghcr.io", "registry = 'docker.io/org'", "ghcr.io/org"),
        ("ghcr.io", "registry = 'org'", "ghcr.io/org"),
        ("ghcr.io", "registry = 'docker.io'", "ghcr.io"),
        ("ghcr.io", "", "ghcr.io"),
        ("http://localhost:5000/", "registry = 'docker.io/a/b'", "localhost:5000/a/b"),
        ("ghcr.io/other", "registry = 'docker.io/org'", "ghcr.io/other"),
        (" ", "registry = 'docker.io/org'", "docker.io/org"),
    ] {
        let config = Repository::new(toml, &[]).env(&[("REGISTRY_URL", url)]).load();
        assert_eq!(config.registry.as_deref(), Some(registry), "{url} {toml}");
    }
    let repository = Repository::new("registry = 'a.io/org'", &[]).env(&[("REGISTRY_URL", "https://GH CR")]);
    assert_eq!(repository.labels(), ["invalid-registry|$REGISTRY_URL|GH CR"]);
}

#[test]
fn tables_merge_and_lists_are_replaced_unless_appended_to() {
    let toml = "tags = ['a']\nargs = { A = 1, B = true }\nlabels = { l = 'file' }\nmembers = ['s/*']\n\
                [services.api]\ntags = ['b']\nargs = { B = 'own' }\n[services.'x.y']\ncontext = 's/api'\nimage = 'dotted'";
    let tags = |config: &Config, name: &str| config.services[name].tags.iter().map(TagEntry::to_string).collect::<Vec<_>>().join(" ");
    let repository = Repository::new(toml, &["s/api", "s/web"]);
    let config = repository.load();
    assert_eq!(config.services["api"].args, BTreeMap::from([("A", "1"), ("B", "own")].map(|(k, v)| (k.into(), v.into()))));
    repository.write("brik.ci.toml", "[services.api]\nargs = { C = '' }\ntags = ['c', 'd']\n[labels]\nm = 'overlay'");
    let repository =
        repository.env(&[("BRIK_ENV", "ci"), ("BRIK_ARGS__GREETING", "Hello, you"), ("BRIK_SERVICES__WEB__TARGET", "run")]).set(&[
            "services.api.tags+=e,{branch}",
            "services.web.tags+=f",
            "services.\"x.y\".tags+=g",
            "services.web.tags+=h",
            "services.web.cache=false",
            "services.web.secrets+={id='t',file='~/t'}",
            "services.web.args.A=2",
            "build.jobs=3",
            "registries.\"docker.io\".insecure=true",
        ]);
    let repository = repository.env(&[("HOME", "/home/me")]);
    let config = repository.load();
    assert_eq!(tags(&config, "api"), "c d e {branch}");
    assert_eq!(tags(&config, "web"), "a f h");
    assert_eq!(tags(&config, "x.y"), "a g");
    assert_eq!(config.services["api"].labels.len(), 2);
    let args = &config.services["api"].args;
    assert_eq!((args["B"].as_str(), args["C"].as_str(), args["GREETING"].as_str()), ("own", "", "Hello, you"));
    let web = &config.services["web"];
    assert_eq!((web.args["A"].as_str(), web.target.as_deref(), &web.cache), ("2", Some("run"), &None));
    let secret = web.secrets.iter().map(|secret| (secret.id.as_str(), &secret.source, secret.origin.as_str()));
    assert!(secret.eq([("t", &SecretSource::File("/home/me/t".into()), "file ~/t")]));
    assert_eq!(config.build.jobs.map(|jobs| jobs.get()), Some(3));
    assert!(config.registries["docker.io"].insecure);
}

#[test]
fn an_overlay_must_exist_and_its_name_cannot_wander() {
    for (name, code) in [("staging", "no-overlay|"), ("../x", "invalid-environment|"), ("a/b", "invalid-environment|")] {
        assert_eq!(Repository::new("", &[]).env(&[("BRIK_ENV", name)]).labels(), [code], "{name}");
    }
    assert!(Repository::new("", &[]).env(&[("BRIK_ENV", "")]).labels().is_empty());
}
