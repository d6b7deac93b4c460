//! What is built: generated, the same on every machine, with a fixed seed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::edit::{Edit, Edits};
use crate::registry::HOST;
use crate::scenario::{Change, Phase};

/// A monorepo with services/NAME/Dockerfile.
pub struct Inputs {
    pub directory: PathBuf,
    pub services: Vec<String>,
    one_file: Edit,
    same_output: Option<Edit>,
}

impl Inputs {
    pub fn of(directory: &Path, edits: &Edits) -> std::io::Result<Self> {
        let entries = fs::read_dir(directory.join("services"))?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut services = entries.collect::<std::io::Result<Vec<_>>>()?;
        services.sort();
        let changing = || Path::new("services").join(&services[0]).join("changing.txt");
        let one_file = Edit::of(directory.join(edits.one_file.clone().unwrap_or_else(changing)))?;
        let same_output = edits.same_output.as_ref().map(|path| Edit::of(directory.join(path))).transpose()?;
        Ok(Self { directory: directory.to_owned(), services, one_file, same_output })
    }

    pub fn dockerfile(&self, service: &str) -> PathBuf {
        self.context(service).join("Dockerfile")
    }

    pub fn context(&self, service: &str) -> PathBuf {
        self.directory.join("services").join(service)
    }

    /// Every builder finds the same before its first phase.
    pub fn restore(&self) -> Result<(), String> {
        [Some(&self.one_file), self.same_output.as_ref()].into_iter().flatten().try_for_each(|edit| edit.write(""))
    }

    pub fn before(&self, phase: &Phase, round: usize) -> Result<(), String> {
        self.restore()?;
        let edit = match phase.change {
            Change::Nothing => None,
            Change::OneFile => Some(&self.one_file),
            Change::SameOutput => self.same_output.as_ref(),
        };
        edit.map_or(Ok(()), |edit| edit.write(&format!("changed in round {round} at {:?}", std::time::SystemTime::now())))
    }
}

pub fn brik_toml() -> String {
    format!("registry = \"{HOST}/bench\"\nmembers = [\"services/*\"]\ntags = [\"latest\"]\n[registries.\"{HOST}\"]\ninsecure = true\n")
}

/// A linear congruential generator (Knuth's MMIX constants): the same bytes everywhere, for ever.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Two fifths noise, the rest words: compresses about as source and binaries do together.
    fn mixed(&mut self, length: usize) -> Vec<u8> {
        let noise = length * 2 / 5;
        let mut bytes: Vec<u8> = (0..noise).map(|_| self.next() as u8).collect();
        while bytes.len() < length {
            bytes.extend_from_slice(WORDS[self.next() as usize % WORDS.len()].as_bytes());
            bytes.push(b"etaoin shr"[self.next() as usize % 10]);
        }
        bytes.truncate(length);
        bytes
    }

    fn text(&mut self, length: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(length + 16);
        while text.len() < length {
            text.extend_from_slice(WORDS[self.next() as usize % WORDS.len()].as_bytes());
            text.push(if self.next().is_multiple_of(9) { b'\n' } else { b' ' });
        }
        text
    }
}

const WORDS: [&str; 24] = [
    "account", "order", "invoice", "ledger", "payment", "customer", "session", "token", "cache", "queue", "worker", "handler", "route",
    "schema", "model", "query", "index", "batch", "stream", "event", "audit", "policy", "quota", "region",
];

fn write(path: &Path, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    fs::write(path, bytes)
}

fn service(root: &Path, name: &str, dockerfile: &str) -> std::io::Result<PathBuf> {
    let directory = root.join("services").join(name);
    write(&directory.join("Dockerfile"), dockerfile.replace("REGISTRY", HOST))?;
    write(&directory.join(".dockerignore"), "Dockerfile\n.dockerignore\n**/*.log\n")?;
    Ok(directory)
}

/// Each installs a few megabytes of files in a first stage, and copies them and 150 sources into the image.
pub fn services(root: &Path) -> std::io::Result<()> {
    eight(
        root,
        "FROM REGISTRY/library/busybox AS dependencies\nWORKDIR /app\nCOPY packages.txt .\n\
         RUN mkdir modules && for i in $(seq 400); do sed \"s/^/module $i /\" packages.txt > modules/$i.js; done\n\n\
         FROM REGISTRY/library/busybox\nENV MODE=production\nWORKDIR /app\nCOPY --from=dependencies /app/modules modules\nCOPY . .\n\
         RUN test -f src/0.js\nUSER 1000\nCMD [\"sh\"]\n",
    )
}

/// The same, but that the first stage also sees `notes.txt`, which makes no difference, and that the image does not have it.
pub fn noted_services(root: &Path) -> std::io::Result<()> {
    eight(
        root,
        "FROM REGISTRY/library/busybox AS build\nWORKDIR /app\nCOPY packages.txt notes.txt ./\n\
         RUN mkdir modules && for i in $(seq 400); do sed \"s/^/module $i /\" packages.txt > modules/$i.js; done\n\n\
         FROM REGISTRY/library/busybox\nENV MODE=production\nWORKDIR /app\nCOPY --from=build /app/modules modules\nCOPY src src\n\
         COPY changing.txt .\nRUN test -f src/0.js\nUSER 1000\nCMD [\"sh\"]\n",
    )?;
    (0..8).try_for_each(|n| write(&root.join(format!("services/service-{n}/notes.txt")), "unchanged\n"))
}

fn eight(root: &Path, dockerfile: &str) -> std::io::Result<()> {
    let mut bytes = Bytes(8);
    for n in 0..8 {
        let directory = service(root, &format!("service-{n}"), dockerfile)?;
        write(&directory.join("packages.txt"), bytes.text(20_000))?;
        write(&directory.join("changing.txt"), "unchanged\n")?;
        for file in 0..150 {
            let length = 300 + bytes.next() as usize % 6000;
            write(&directory.join(format!("src/{file}.js")), bytes.text(length))?;
        }
    }
    Ok(())
}

pub fn many(root: &Path) -> std::io::Result<()> {
    let directory = service(root, "many", "FROM REGISTRY/library/busybox\nCOPY . /app\n")?;
    let mut bytes = Bytes(100_000);
    for n in 0..100_000 {
        let length = 20 + bytes.next() as usize % 1000;
        write(&directory.join(format!("src/p{:02}/m{:02}/file{n:06}.txt", n / 5000, n / 200 % 25)), bytes.text(length))?;
    }
    Ok(())
}

pub fn runs(root: &Path) -> std::io::Result<()> {
    let runs: String = (1..=30).map(|n| format!("RUN echo {n} > /f{n}\n")).collect();
    service(root, "runs", &format!("FROM REGISTRY/library/busybox\n{runs}")).map(drop)
}

pub fn big(root: &Path) -> std::io::Result<()> {
    let directory = service(root, "big", "FROM REGISTRY/library/busybox\nCOPY data /data\n")?;
    let mut bytes = Bytes(1 << 30);
    (0..2000).try_for_each(|n| write(&directory.join(format!("data/d{:02}/f{n:04}.bin", n / 100)), bytes.mixed((1 << 30) / 2000)))
}

/// The base image itself is in `base`: the registry pushes it.
pub fn base(root: &Path) -> std::io::Result<()> {
    let base = root.join("base");
    let copies: String = (0..6).map(|n| format!("COPY usr{n} /usr/lib/part{n}\n")).collect();
    write(&base.join("Dockerfile"), format!("FROM {HOST}/library/busybox\n{copies}"))?;
    let mut bytes = Bytes(300);
    for n in 0..6 {
        for file in 0..1500 {
            let length = bytes.next() as usize % 70_000;
            write(&base.join(format!("usr{n}/d{}/f{file}.so", file / 50)), bytes.mixed(length))?;
        }
    }
    service(root, "on-base", "FROM REGISTRY/library/large\nRUN true\n").map(drop)
}

pub fn wide(root: &Path) -> std::io::Result<()> {
    for n in 0..200 {
        let copies: String = (0..9).map(|step| format!("COPY f{step}.txt /app/{step}/\n")).collect();
        let directory = service(root, &format!("s{n:03}"), &format!("FROM REGISTRY/library/busybox\nWORKDIR /app\n{copies}"))?;
        (0..9).try_for_each(|step| write(&directory.join(format!("f{step}.txt")), format!("{n} {step}\n")))?;
    }
    Ok(())
}
