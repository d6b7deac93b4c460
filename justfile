# Recipes for those who have `just`; each is what CI runs.

# What a change has to pass: formatting, lints, documentation, tests.
check: fmt-check lint doc test

# Every test, as root (where it is root) and as an unprivileged user.
test:
    ./tests/run

# Unit tests of one room, as in `just unit plan`.
unit room="":
    cargo test --locked --lib {{ room }}

# The example monorepo, built and pushed to a registry on loopback, twice.
run:
    ./examples/run

# brik beside buildah and dockerd's BuildKit, as in `just bench --only runs --rounds 1`; see benches/README.md.
bench *args:
    cargo bench --locked --bench builders -- {{ args }}

fmt:
    cargo fmt

fmt-check:
    cargo fmt --check

lint:
    cargo clippy --locked --all-targets -- -D warnings

# Licences, bans, sources and advisories of all dependencies; `cargo install cargo-deny --locked` first. Only advisories need the network.
deny:
    cargo deny check

# Unit tests of rooms without I/O under Miri, as in `just miri dockerfile::word`.
miri *tests:
    ./.ci/miri {{ tests }}

# The release binary, built twice in two directories: the same bytes?
reproducible:
    ./.ci/reproducible

# The map that newcomers read first.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
