//! What is said of Steps that run, change by change.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::source::FileLists;

/// What a first build has left: its trail, and all that its Steps were made of.
struct Built {
    trail: Trail,
    steps: HashMap<CacheKey, (KeyInputs, FileLists)>,
}

impl Past for Built {
    fn inputs(&self, key: &CacheKey) -> Option<KeyInputs> {
        self.steps.get(key).map(|(inputs, _)| inputs.clone())
    }

    fn files(&self, key: &CacheKey) -> Option<FileLists> {
        FileLists::from_bytes(&self.steps.get(key)?.1.to_bytes().unwrap())
    }
}

impl Built {
    fn of(plan: &Plan) -> Self {
        let files = |step: &Step| {
            let mut lists = FileLists::default();
            for (context, selection) in step.selections() {
                lists.push(selection.known_hash().unwrap(), plan.contexts[context].file_list(selection).unwrap());
            }
            lists
        };
        let steps = plan.steps.iter().map(|step| (step.key, (step.inputs.clone(), files(step)))).collect();
        Self { trail: Trail::of(plan, plan.images.last().unwrap(), None), steps }
    }

    /// Of the last image of `plan`, for which all Steps run that this build did not have.
    fn explain(&self, plan: &Plan, root: &Path) -> Explained {
        let run = (0..plan.steps.len()).filter(|id| !self.steps.contains_key(&plan.steps[*id].key)).collect();
        explain(&Question { plan, run: &run, past: self, root }, plan.images.last().unwrap(), Some(&self.trail))
    }
}

fn told(plan: &Plan, explained: &Explained) -> String {
    let line = |reasons: &[MissReason]| reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let steps = explained.steps.iter().map(|step| format!("{}: {}", plan.steps[step.step].position, line(&step.reasons)));
    let image = (!explained.image.is_empty()).then(|| format!("image: {}", line(&explained.image)));
    steps.chain(image).collect::<Vec<_>>().join(" | ")
}

const TEXT: &str = "FROM alpine AS make\nARG VERSION=1\nCOPY a /a\nRUN make $VERSION\nFROM alpine\nWORKDIR /app\nCOPY a b ./\nRUN check\nCOPY --from=make /out .\nRUN end\nLABEL x=1\n";

#[test]
fn every_kind_of_change_is_named_with_old_and_new_and_what_follows_says_after_what_it_runs() {
    let after_copy = "stage-1 3/5: after COPY a b ./ | stage-1 4/5: after COPY a b ./ | stage-1 5/5: after COPY a b ./";
    let after_make = "stage-1 4/5: after RUN make $VERSION | stage-1 5/5: after RUN make $VERSION";
    let rewritten = |from: &'static str, to: &'static str| {
        Box::new(move |repository: &mut Repository| repository.rewrite(&TEXT.replace(from, to))) as Box<dyn Fn(&mut Repository)>
    };
    let files = |change: fn(&Path)| Box::new(move |repository: &mut Repository| change(repository.directory.path())) as Box<_>;
    type Change<'c> = (&'c str, Box<dyn Fn(&mut Repository)>, String);
    let changes: Vec<Change> = vec![
        ("nothing", files(|_| {}), "image: no longer in the store or a cache that is read".to_owned()),
        (
            "a file that one COPY selects",
            files(|root| fs::write(root.join("b"), "new").unwrap()),
            format!("stage-1 2/5: b changed | {after_copy}"),
        ),
        (
            "a mode",
            files(|root| fs::set_permissions(root.join("b"), fs::Permissions::from_mode(0o755)).unwrap()),
            format!("stage-1 2/5: b: mode 0644 -> 0755 | {after_copy}"),
        ),
        (
            "an argument",
            Box::new(|repository| drop(repository.app().args.insert("VERSION".to_owned(), "2".to_owned()))),
            format!("make 2/2: ARG VERSION: 1 -> 2 | {after_make}"),
        ),
        (
            "a variable",
            rewritten("WORKDIR", "ENV E=1\nWORKDIR"),
            "stage-1 3/5: ENV E added: 1 | stage-1 4/5: after RUN check | stage-1 5/5: after RUN check".to_owned(),
        ),
        (
            "an instruction",
            rewritten("RUN check", "RUN other"),
            "stage-1 3/5: instruction changed, was RUN check | stage-1 4/5: after RUN other | stage-1 5/5: after RUN other".to_owned(),
        ),
        (
            "one more",
            rewritten("RUN check", "RUN more\nRUN check"),
            "stage-1 3/6: new instruction | stage-1 4/6: after RUN more | stage-1 5/6: after RUN more | stage-1 6/6: after RUN more"
                .to_owned(),
        ),
        (
            "one less",
            rewritten("RUN check\n", ""),
            "stage-1 3/4: RUN check was removed | stage-1 4/4: after COPY --from=make /out .".to_owned(),
        ),
        ("the last one less", rewritten("RUN end\n", ""), "image: RUN end was removed".to_owned()),
        (
            "a base",
            rewritten("FROM alpine AS", "FROM debian AS"),
            format!(
                "make 1/2: base alpine -> debian | make 2/2: after COPY a /a | {}",
                after_make.replace("RUN make $VERSION", "COPY a /a")
            ),
        ),
        ("a user", rewritten("RUN end", "USER app\nRUN end"), "stage-1 5/5: user: \"\" -> app | image: USER added: app".to_owned()),
        (
            "a destination",
            rewritten("COPY a /a", "COPY --chown=1 a /a"),
            format!(
                "make 1/2: instruction changed, was COPY a /a | make 2/2: after COPY --chown=1 a /a | {}",
                after_make.replace("RUN make $VERSION", "COPY --chown=1 a /a")
            ),
        ),
        ("a label", rewritten("x=1", "x=2"), "image: LABEL x: 1 -> 2".to_owned()),
        (
            "a stage's name",
            Box::new(|repository| repository.rewrite(&TEXT.replace("AS make", "AS build").replace("=make", "=build"))),
            "image: no longer in the store or a cache that is read".to_owned(),
        ),
    ];
    for (what, change, expected) in changes {
        let mut repository = Repository::one(TEXT);
        let built = Built::of(&repository.plan().unwrap());
        change(&mut repository);
        let plan = repository.plan().unwrap();
        assert_eq!(told(&plan, &built.explain(&plan, repository.directory.path())), expected, "{what}");
    }
}

#[test]
fn files_that_came_and_went_are_named_below_their_directory_and_many_are_counted() {
    let repository = Repository::one("FROM alpine\nCOPY . /all\n");
    let root = repository.directory.path();
    let built = Built::of(&repository.plan().unwrap());
    fs::remove_file(root.join("a")).unwrap();
    fs::write(root.join("other/new"), "").unwrap();
    let plan = repository.plan().unwrap();
    let above = root.parent().unwrap();
    let name = root.file_name().unwrap().to_str().unwrap();
    let Explanation { reasons, .. } = &built.explain(&plan, above).steps[0];
    let expected = [MissReason::FileAdded { path: format!("{name}/other/new") }, MissReason::FileRemoved { path: format!("{name}/a") }];
    assert_eq!(reasons[..], expected);
    (0..30).for_each(|number| fs::write(root.join(format!("many{number}")), "").unwrap());
    let plan = repository.plan().unwrap();
    let Explanation { reasons, .. } = &built.explain(&plan, root).steps[0];
    assert_eq!((reasons.len(), reasons.last()), (21, Some(&MissReason::MoreFiles { count: 12 })));
}

#[test]
fn without_records_or_lists_less_is_said_and_nothing_wrong() {
    let repository = Repository::one(TEXT);
    let plan = repository.plan().unwrap();
    let mut built = Built::of(&plan);
    repository.write("b", "new");
    let plan = repository.plan().unwrap();
    let root = repository.directory.path().to_owned();
    built.steps.values_mut().for_each(|(_, files)| *files = FileLists::default());
    let no_lists = built.explain(&plan, &root);
    assert_eq!(told(&plan, &no_lists).split(" | ").next(), Some("stage-1 2/5: files of b changed"));

    let run = no_lists.steps.iter().map(|step| step.step).collect();
    let question = |run| Question { plan: &plan, run, past: &Nothing, root: &root };
    let image = &plan.images[0];
    let forgotten = explain(&question(&run), image, Some(&built.trail));
    let after = "after COPY a b ./";
    let lost = "changed; what the last build was made of is no longer known";
    assert_eq!(
        told(&plan, &forgotten),
        format!("stage-1 2/5: {lost} | stage-1 3/5: {after} | stage-1 4/5: {after} | stage-1 5/5: {after}")
    );

    let all = (0..plan.steps.len()).collect();
    let new = explain(&question(&all), image, None);
    assert!(new.steps.len() == plan.steps.len() && new.steps.iter().all(|step| step.reasons == [MissReason::New]));
    // Of the Steps that did not change, one is gone.
    let same = Trail::of(&plan, image, None);
    let evicted = explain(&question(&[3].into()), image, Some(&same));
    assert_eq!(told(&plan, &evicted), format!("{}: no longer in the store or a cache that is read", plan.steps[3].position));
}

struct Nothing;

impl Past for Nothing {
    fn inputs(&self, _: &CacheKey) -> Option<KeyInputs> {
        None
    }

    fn files(&self, _: &CacheKey) -> Option<FileLists> {
        None
    }
}

#[test]
fn a_step_that_changed_and_is_cached_is_the_cause_of_those_that_run() {
    let repository = Repository::one("FROM alpine\nCOPY a /a\nRUN one\nRUN two\n");
    let mut built = Built::of(&repository.plan().unwrap());
    repository.write("a", "changed");
    let plan = repository.plan().unwrap();
    let other = Built::of(&plan);
    // As another branch has left it.
    built.steps.extend(other.steps.into_iter().filter(|(key, _)| *key == plan.steps[0].key));
    let explained = built.explain(&plan, repository.directory.path());
    assert_eq!(told(&plan, &explained), "stage-0 1/3: a changed | stage-0 2/3: after COPY a /a | stage-0 3/3: after COPY a /a");
    assert_eq!(explained.steps.iter().map(|step| step.runs).collect::<Vec<_>>(), [false, true, true]);
    let trail = Trail::of(&plan, &plan.images[0], Some(&explained));
    assert!(trail.steps[0].reasons.is_empty() && trail.has_reasons());
    let json = serde_json::to_string(&trail).unwrap();
    assert_eq!(serde_json::from_str::<Trail>(&json).unwrap(), trail);
}
