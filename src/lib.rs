//! brik: daemonless, rootless container builds for monorepos. This page is the map; every room's `mod.rs` is the map of that room.
//!
//! # Rooms
//!
//! Data flows one way. Rooms that read or think return values and findings; only rooms that act touch the network, the store or the
//! kernel; only `report` and `cli` talk. There is no room for helpers: a helper without a room means that a room is missing.
//!
//! ```text
//!  in        brik.toml      git + contexts     Dockerfiles
//!                |                |                 |
//!  READ       config            source          dockerfile
//!                \________________|_________________/
//!  THINK                         plan                 services -> Steps -> CacheKeys       policy   rules -> Verdict
//!                                 |
//!  ACT              cache <---- build                 Steps -> layers -> images -> pushes
//!                     |    /      |      \
//!                     registry  store   image
//!                                 |
//!  TELL            report (events -> tty | plain | grouped | json)   cli (commands, diagnostics, exit codes)
//!  GROUND          oci (the vocabulary that every room speaks)
//! ```
//!
//! | room | does | may use |
//! |---|---|---|
//! | [`oci`] | Digest, DiffId, Reference, Descriptor, Platform, Manifest, Index, ImageConfig; no I/O | - |
//! | [`config`] | brik.toml in its layers -> `Config`; brik.lock; findings on their bytes; the schema | oci source |
//! | [`source`] | git facts, the files of the disk or of a commit, ignore files, contexts walked once and hashed lazily | oci |
//! | [`dockerfile`] | text -> instructions -> stages; word expansion; build checks; never opens a file | oci |
//! | [`import`] | what Dockerfiles, bake and compose files and workflows say of images -> a brik.toml, and what it cannot say | oci config dockerfile |
//! | [`plan`] | edges between services, Steps with their CacheKeys, tags | oci config source dockerfile |
//! | [`policy`] | `[policy]` of brik.toml held against services and their Dockerfiles; the verdict as evidence | oci config dockerfile plan |
//! | [`store`] | blobs, records, snapshots on disk; what several processes share; pruning | oci |
//! | [`registry`] | the distribution-spec client; the only asynchronous room, with blocking doors | oci store report |
//! | [`cache`] | records of Steps and images, shared through cache repositories | oci plan store registry report |
//! | [`image`] | reproducible layers, unpacking, manifests, OCI layouts, docker archives | oci store |
//! | [`build`] | lookup, scheduler, Steps, sandbox, push | oci source plan store image registry cache report |
//! | [`report`] | events, renderers, redaction, summaries | oci plan |
//! | [`cli`] | one file a command; nobody uses cli | all |
//!
//! Words mean one thing everywhere: a `Service` is what brik.toml promises; a `Step` is the smallest thing that runs and is cached;
//! a `CacheKey` identifies a Step by what goes into it; a `Digest` names compressed bytes and a `DiffId` an uncompressed layer; a
//! `Snapshot` is a layer unpacked.
//!
//! # The life of a build
//!
//! `brik build --push` goes through these places, in this order:
//!
//! 1. `cli::request` loads brik.toml (`config::load`) or makes a `Config` of the flags (`cli::one_image`); the
//!    redactor learns the credentials.
//! 2. `cli::select` knows what the arguments mean; `cli::workspace` parses the Dockerfiles of these services and of those that they need, infers the edges between services (`plan::graph`) and renders tags. `brik check` ends here.
//! 3. `build::remote` asks registries for the digests and configs of the base images; tags that brik.lock pins are not asked for. No layer is pulled yet. What `ADD` and named
//!    contexts take from git or a URL is fetched into the store in step 4, where planning asks for it.
//! 4. `plan::planner` turns everything into one `Plan` in which identical Steps stand once. All keys are known before anything runs.
//!    `cli::policy` refuses what `[policy]` forbids to push, and `cli::evidence` leaves the verdict. `cli::lint` warns about the Dockerfiles; where one says `error=true`, the run ends here.
//! 5. `build::lookup` asks the store and the cache repositories (`cache::shared`) for finished images, then for Steps: what is left has to
//!    run. If nothing is left, 6 is skipped. `cli::reasons` compares what is left with the trail of the last build (`plan::explain`);
//!    `brik why` and `brik plan` end here.
//! 6. `build::sandbox::respawn` executes brik again inside its namespaces, or stays where there are none to be had. 1 to 5 are repeated
//!    there, with the answers of all servers that `cli::handover` brings: nobody is asked twice. `cli::secrets` reads
//!    the secrets, which the redactor learns first; credentials and write permission are tried; and `build::schedule` runs Steps on threads: base layers are pulled (`build::layers`), a workspace is opened (an
//!    overlay, or a copy on rung 3), the Step works in it (`run_step`, `copy_step`), the change becomes a layer, a record and a snapshot.
//!    Before that, `build::content_key` looks whether what the Step works on is what it once was, whatever has made it.
//! 7. `build::ahead` pushes the layers of images while later Steps run. `build::finish` assembles each image as soon as its Steps are done, and
//!    `build::push` pushes the rest of it: layers, config, manifest, tags. `build::share` gives new results to the cache repositories. Where
//!    these turn out not to hold what they promised, what needs nothing of it is finished, and the rest goes on from step 5 (`cli::session`, `cache::known`). Each finished image leaves a trail (`build::trails`).
//!    Where `[cache] mounts` says so, `build::mounts` has brought the directories of cache mounts before a RUN mounted them, and saves them
//!    when the last such RUN has ended.
//! 8. `cli::session` prints the table on stderr and `name@digest` on stdout. A signal may end all that earlier: `cli::interrupt`.
//!
//! # Files on the user's disk
//!
//! | path | owner | content |
//! |---|---|---|
//! | `brik.toml`, `brik.<env>.toml` | the user; [`config`] reads | services; every key is in `brik.toml.example` |
//! | `brik.lock` | `brik lock` and `brik update` write; `config::lock` documents it | what the tags of base images are held to |
//! | `$XDG_CACHE_HOME/brik` or `--store` | [`store`], which documents it; nothing else writes there | everything that brik remembers |
//! | `oci:DIR`, `docker:FILE`, `--metadata-file`, `--report` and with it `$GITHUB_STEP_SUMMARY`, `$GITHUB_OUTPUT` of `brik matrix` | [`image`], [`report`] | what the user asked for |
//! | `.audit/PIPE-CONTAINER-BUILD/policy/` beside brik.toml | [`cli`], where there is a `[policy]`; [`policy`] makes the content | the verdict of `brik check` and of a push |
//! | docker's `config.json`, podman's `auth.json` | the user; [`registry`] reads both, and writes the first for `brik login` and `brik logout` | credentials |
//!
//! But for `brik doctor --fix`, which says what it has done, brik writes nowhere else: contexts are only read, and mounts live in namespaces that end with the process (rung 3 has none).
//!
//! # Where things are added
//!
//! | what | where |
//! |---|---|
//! | a command | `cli/<name>.rs` and a variant of `cli::args::Command`; of `brik cache`: `cli/cache/<name>.rs`, and with `--remote` `cli/cache/remote/<name>.rs` |
//! | a key of brik.toml | `config/model.rs` (from which the schema is made), `config/types.rs`, `brik.toml.example` |
//! | a meaning of SERVICE | `cli/select.rs` |
//! | an instruction or flag | `dockerfile/ast.rs`; matches without `_` lead through the rest |
//! | an input of a CacheKey | where the Step is planned (`plan/run.rs`, `plan/copy.rs`), and the table in `plan/key.rs` |
//! | a reason for a rebuild | a variant of `plan::MissReason`, found in `plan/explain.rs` |
//! | a build check | `dockerfile/lint/<rule>.rs` and its page `dockerfile/lint/doc/<Rule>.md`; a row in `dockerfile::lint::RULES` |
//! | a rule of the policy | `policy/<what it looks at>.rs`, a row in `policy::RULES`, a variant of `config::PolicyRule`, a page in `cli/explain/policy.md` |
//! | the code of a diagnostic | where it is raised, and a page in `cli/explain/<room>.md` |
//! | on whose word a result rests, and for whom that counts | `cache/records.rs` (`Claims`), `cache/shared.rs` (`Belief`); what the store has of it: `build/claimed.rs` |
//! | what is of no use of what a cache repository says, and to whom | `cache/known.rs` (`Loss`); how long a blob really is: `build/push.rs` (`measure`) |
//! | a kind of cache entry | `cache/artifact.rs` (`open` tells it from others), and what makes it worth to keep: `cache/reach.rs` |
//! | something that `brik doctor` looks at | `cli/doctor/<what>.rs`; what it needs of a registry: `registry/greet.rs`, `registry/preflight.rs` |
//! | an event | `report/event.rs` (from which `schema/progress.schema.json` is made), and a line in each renderer |
//! | a CI service | `report/forge.rs` |
//! | a page of `brik help` | `cli/help/topics/<name>.txt`, and a row in `cli/help/topics.rs` |
//! | a file of another tool for `brik init` | `import/<tool>.rs`, and its name in `import/sources.rs` |
//! | what a RUN reaches | `build/sandbox/network.rs`, and `network` of `config/types.rs` |
//! | a limit of a RUN | `build/sandbox/limits.rs`; `build/sandbox/cgroup.rs` where only a control group can |
//! | something that must last on disk, or go | `store/disk.rs`; what a crash may leave of it: `store/tests/crashes.rs` |
//! | a fault of a registry | `tests/suite/support/proxy/fault.rs`, a row in `tests/suite/faults/kind.rs` |
//! | a way out of a RUN that has to be shut | an attempt in `tests/suite/escapes`: first it succeeds |
//! | a system call or `unsafe` | `build/sandbox/sys.rs`, the only place for it |
//! | a type of docker/metadata-action | `config/metadata_action/mod.rs` reads it, `plan/tags/metadata_action/mod.rs` says when it fires |
//! | a label or ARG from git | `plan/labels.rs`; its facts: `cli/source_facts.rs` |
//! | a fuzz target | `fuzz/fuzz_targets/<name>.rs`, what must hold in `tests/properties`, its corpus in `fuzz/corpus/<name>` and a row in `tests/suite/corpus.rs` |
//! | an error | the room's own `thiserror` enum; text for people and exit codes are made in `cli` only |

pub mod build;
pub mod cache;
pub mod cli;
pub mod config;
pub mod dockerfile;
pub mod image;
pub mod import;
pub mod oci;
pub mod plan;
pub mod policy;
pub mod registry;
pub mod report;
pub mod source;
pub mod store;
