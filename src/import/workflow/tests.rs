use std::fs;

use super::*;
use crate::import::Draft;

fn repository(dockerfiles: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for dockerfile in dockerfiles {
        let path = root.path().join(dockerfile);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "FROM scratch\n").unwrap();
    }
    root
}

fn told(text: &str, dockerfiles: &[&str]) -> (Vec<Found>, Vec<String>) {
    let root = repository(dockerfiles);
    let remote = Remote::parse("https://github.com/Acme/Shop.git");
    let (found, left) = read(root.path(), "ci.yml", text, remote.as_ref());
    (found, left.iter().map(Left::to_string).collect())
}

#[test]
fn a_call_of_the_reusable_kaniko_workflow_is_an_image() {
    let text = "
jobs:
  build-and-push:
    uses: acme/.github/.github/workflows/ci-build-kaniko.yml@main
    with:
      image_name: ghcr.io/acme/example-node-api
      context: .
      dockerfile: ./node-api-example/Dockerfile
      tags: |
        v0.1.0
        sha-${{ github.sha }}
        ${{ github.ref_name }}
      build_args: |
        NODE=20
        WHO=${{ github.actor }}
      registry: ghcr.io
      cache_enabled: true
      cache_repo: ghcr.io/acme/cache/example-node-api
    secrets:
      REGISTRY_TOKEN: ${{ secrets.GITHUB_TOKEN }}
";
    let (found, left) = told(text, &["node-api-example/Dockerfile"]);
    insta::assert_snapshot!(Draft::new(Path::new("/none"), Vec::new(), found, Vec::new(), None).document(), @r#"
    registry = "ghcr.io/acme"
    tags = ["v0.1.0", "sha-{sha_long}"]

    [services.example-node-api]
    context = "."
    dockerfile = "node-api-example/Dockerfile"
    cache = "cache/example-node-api"
    args = { NODE = "20" }
    "#);
    insta::assert_snapshot!(left.join("\n"), @r#"
    ci.yml: a tag (build-and-push): it depends on github.ref_name; brik has templates and metadata-action's `type=` lines for `tags`
    ci.yml: build arg WHO (example-node-api): it depends on github.actor
    "#);
}

#[test]
fn a_matrix_of_kaniko_steps_is_as_many_images() {
    let text = "
on: {workflow_call: {inputs: {where: {default: services}}}}
env: {REGISTRY: 'ghcr.io/${{ github.repository_owner }}'}
jobs:
  images:
    strategy:
      matrix:
        service: [api, web]
        include: [{service: web, file: Dockerfile.prod}]
    steps:
      - uses: actions/checkout@v4
      - uses: int128/kaniko-action@v1
        with:
          push: true
          context: ${{ inputs.where }}/${{ matrix.service }}
          file: ${{ inputs.where }}/${{ matrix.service }}/Dockerfile
          tags: ${{ env.REGISTRY }}/${{ matrix.service }}:v1
          cache: false
          kaniko-args: --single-snapshot
";
    let (found, left) = told(text, &["services/api/Dockerfile", "services/web/Dockerfile"]);
    let line = |image: &Found| format!("{} {} {} {:?} {:?}", image.name, image.context, image.dockerfile, image.tags, image.cache);
    assert_eq!(
        found.iter().map(line).collect::<Vec<_>>(),
        [r#"api services/api services/api/Dockerfile ["v1"] Some(Off)"#, r#"web services/web services/web/Dockerfile ["v1"] Some(Off)"#]
    );
    assert_eq!(left, ["ci.yml: kaniko-args (api, web): brik.toml has nothing like it"]);
}

#[test]
fn the_image_of_metadata_action_is_that_of_the_build() {
    let text = "
jobs:
  build:
    steps:
      - id: meta
        uses: docker/metadata-action@v5
        with:
          images: ghcr.io/${{ github.repository }}
          tags: |
            type=sha
            type=semver,pattern={{version}}
      - uses: docker/build-push-action@v5
        with:
          context: .
          push: true
          tags: ${{ steps.meta.outputs.tags }}
          labels: ${{ steps.meta.outputs.labels }}
          platforms: linux/amd64,linux/arm64
          cache-from: type=gha
          secrets: npm=${{ secrets.NPM }}
";
    let (found, left) = told(text, &["Dockerfile"]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].tags, ["type=sha", "type=semver,pattern={{version}}"]);
    assert_eq!((found[0].name.as_str(), found[0].platforms.len(), found[0].secrets.len()), ("shop", 2, 1));
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn scripts_begin_in_their_directory_and_are_followed_nowhere_else() {
    let text = "
defaults: {run: {working-directory: services}}
jobs:
  a:
    steps:
      - run: /kaniko/executor -c web -f web/Dockerfile -d ghcr.io/acme/web:v1
      - run: /kaniko/executor -c api -d ghcr.io/acme/api:${{ github.sha }}
      - {working-directory: ., run: '/kaniko/executor -c services/api -d ghcr.io/acme/api:v1'}
  b: {steps: [{run: 'cd x && /kaniko/executor -c .'}]}
  c: {steps: [{run: 'TAG=v1; /kaniko/executor -c services/web -d ghcr.io/acme/other:$TAG', working-directory: '.'}]}
  d: {steps: [{run: './build --image gcr.io/kaniko-project/executor'}]}
";
    let (found, left) = told(text, &["services/api/Dockerfile", "services/web/Dockerfile"]);
    let line = |image: &Found| format!("{} {} {} {:?}", image.name, image.context, image.dockerfile, image.tags);
    assert_eq!(
        found.iter().map(line).collect::<Vec<_>>(),
        [
            r#"web services/web services/web/Dockerfile ["v1"]"#,
            r#"api services/api services/api/Dockerfile ["{sha_long}", "v1"]"#,
            "other services/web services/web/Dockerfile []"
        ]
    );
    insta::assert_snapshot!(left.join("\n"), @r#"
    ci.yml: job "b": where it is built depends on cd x
    ci.yml: a tag (c): it depends on TAG; brik has templates and metadata-action's `type=` lines for `tags`
    ci.yml: job "d": it calls Kaniko in a way that is not understood
    "#);
}

#[test]
fn what_only_github_knows_is_left_with_its_reason() {
    let job = |with: &str| format!("jobs: {{a: {{uses: x/kaniko.yml@v1, with: {with}}}}}");
    for (with, images, reason) in [
        ("{context: '${{ vars.DIR }}'}", 0, "where it is built depends on vars.DIR"),
        ("{context: ../x}", 0, "outside of this directory"),
        ("{context: missing}", 0, "is not there"),
        ("{image_name: '${{ vars.NAME }}'}", 1, "its name depends on vars.NAME"),
        ("{image_name: 'A B'}", 1, "image (a): invalid reference"),
        ("{image_name: a, tags: '{sha}-{nope}'}", 1, "the tag"),
        ("{image_name: a, cache_repo: '${{ vars.C }}'}", 1, "its repository depends"),
        ("{image_name: a, odd: 1}", 1, "nothing like it"),
    ] {
        let (found, left) = told(&job(with), &["Dockerfile"]);
        assert_eq!(found.len(), images, "{with}: {found:?}");
        assert!(left.iter().any(|left| left.contains(reason)), "{with}: {left:?}");
    }
    for text in [
        "kaniko: [",
        "kaniko",
        "jobs: [kaniko]",
        "jobs: {a: {steps: kaniko}}",
        "jobs: {a: {uses: kaniko, strategy: {matrix: {x: kaniko}}}}",
    ] {
        assert!(told(text, &["Dockerfile"]).0.is_empty(), "{text}");
    }
    assert_eq!(told("jobs: [", &[]), (vec![], vec![]));
}
