//! Which stages make the image, for which platform, and what a trigger brings.

use super::*;

#[test]
fn triggers_of_the_base_run_first_and_are_not_passed_on() {
    let plan = Repository::one("FROM onbuild AS first\nRUN x\nFROM first\nRUN y\n").plan().unwrap();
    let texts: Vec<_> = plan.steps.iter().map(|step| step.text.as_str()).collect();
    assert_eq!(texts, ["COPY a /triggered", "RUN x", "RUN y"]);
    assert!(plan.images[0].config.config.on_build.is_empty());
    let own = Repository::one("FROM alpine AS first\nONBUILD RUN x\nFROM first\nRUN y\n").plan().unwrap();
    assert_eq!(own.steps.iter().map(|step| step.text.as_str()).collect::<Vec<_>>(), ["RUN x", "RUN y"]);
}

#[test]
fn triggers_of_a_stage_bring_what_they_need() {
    let text = "FROM busybox AS files\nFROM alpine AS base\nONBUILD COPY --from=files a /\nONBUILD COPY --from=debian b /\nFROM base\n";
    let dockerfile = Dockerfile::parse(Path::new("Dockerfile"), text.as_bytes()).unwrap();
    let platform: Platform = "linux/amd64".parse().unwrap();
    let survey = |target| dockerfile.survey(&BTreeMap::new(), target, &platform, &platform, &NamedContexts::default()).unwrap();
    let outside = |survey: &Survey| {
        let mut names: Vec<String> = survey.outside.iter().map(|outside| outside.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(outside(&survey(None)), ["alpine", "busybox", "debian"]);
    assert_eq!(outside(&survey(Some("base"))), ["alpine"], "the stage that has them does not need it");
}

#[test]
fn the_image_is_for_the_platform_that_was_asked_for_or_else_for_that_of_its_base() {
    for (from, implicit, architecture) in [
        ("--platform=linux/arm64 alpine", true, "arm64"),
        ("--platform=arm64 alpine", true, "arm64"),
        ("--platform=linux/arm64 alpine", false, "amd64"),
        ("--platform=linux/arm64 scratch", true, "amd64"),
    ] {
        let mut repository = Repository::one(&format!("FROM {from}\nCOPY a /\n"));
        repository.app().implicit_platform = implicit;
        assert_eq!(repository.plan().unwrap().images[0].config.architecture, architecture, "{from} {implicit}");
    }
}

#[test]
fn the_target_stage_is_named_as_it_was_asked_for() {
    let mut repository = Repository::one("FROM alpine AS Last\nARG TARGETSTAGE\nRUN x\n");
    for (asked, name) in [(None, "last"), (Some("LAST"), "LAST")] {
        repository.app().target = asked.map(str::to_owned);
        let plan = repository.plan().unwrap();
        let Op::Run(run) = &plan.steps[0].op else { panic!("no RUN") };
        assert!(run.env.contains(&("TARGETSTAGE".to_owned(), name.to_owned())), "{asked:?}: {:?}", run.env);
    }
}

#[test]
fn windows_has_a_shell_and_a_path_of_its_own() {
    let mut repository = Repository::one("FROM scratch\nENTRYPOINT foo bar\n");
    let linux = repository.plan().unwrap().images[0].config.config.clone();
    repository.app().platforms = vec!["windows/amd64".parse().unwrap()];
    let windows = repository.plan().unwrap().images[0].config.config.clone();
    assert_eq!(linux.entrypoint.unwrap(), ["/bin/sh", "-c", "foo bar"]);
    assert_eq!(windows.entrypoint.unwrap(), ["cmd", "/S", "/C", "foo bar"]);
    assert_eq!((linux.env.len(), windows.env.len()), (1, 0));
}

#[test]
fn args_that_speak_to_the_builder_are_no_variables_of_run() {
    let plan = Repository::one("FROM alpine\nARG BUILDKIT_SBOM_SCAN_STAGE=true A=1\nRUN x\n").plan().unwrap();
    let Op::Run(run) = &plan.steps[0].op else { panic!("no RUN") };
    assert!(run.env.iter().any(|(name, _)| name == "A") && run.env.iter().all(|(name, _)| name != "BUILDKIT_SBOM_SCAN_STAGE"));
    let texts: Vec<_> = plan.images[0].config.history.iter().map(|entry| entry.created_by.as_str()).collect();
    let run = "RUN |2 BUILDKIT_SBOM_SCAN_STAGE=true A=1 /bin/sh -c x # buildkit";
    assert_eq!(texts, ["base", "ARG BUILDKIT_SBOM_SCAN_STAGE=true A=1", run]);
}

#[test]
fn a_long_chain_of_stages_is_planned_without_recursion() {
    let chain: String = (1..10_000).map(|stage| format!("FROM s{} AS s{stage}\n", stage - 1)).collect();
    let plan = Repository::one(&format!("FROM scratch AS s0\nCOPY a /\n{chain}")).plan().unwrap();
    assert_eq!(plan.steps.len(), 1);
}

#[test]
fn unused_stages_make_no_steps() {
    let plan = Repository::one("FROM missing AS unused\nRUN x\nFROM scratch\nCOPY a /\n").plan().unwrap();
    assert_eq!(plan.steps.len(), 1);
    assert!(plan.bases.is_empty());
}

#[test]
fn global_args_and_names_of_bases_do_not_take_more_memory_than_stages_may() {
    let large = format!("ARG a={}\nARG b={}\n", "x".repeat(60_000), "$a".repeat(16));
    let many = |line: &dyn Fn(usize) -> String| (0..200).map(line).collect::<String>();
    for text in [
        large.clone() + &many(&|n| format!("ARG v{n}=$b\n")) + "FROM scratch\n",
        large.clone() + &many(&|n| format!("FROM $b AS s{n}\n")),
        // Each half has room, both together have not.
        large.clone() + &(0..40).map(|n| format!("ARG v{n}=$b\n")).collect::<String>() + "FROM scratch\nARG b\n" + &"RUN x\n".repeat(40),
    ] {
        let error = Repository::one(&text).plan().map(drop).unwrap_err();
        assert!(matches!(*error.kind, ErrorKind::TooMuch { .. }), "{error}");
    }
    assert!(Repository::one(&(large + "FROM scratch\nARG b\nRUN x\n")).plan().is_ok());
}
