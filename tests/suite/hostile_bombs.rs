//! Layers and archives of more than anybody wants. In CI they are small; `BRIK_TRIALS=100` makes a million entries of the first, and adds
//! those that take minutes.

use std::io::Write;

use sha2::Digest;
use tar::Builder;

use crate::support::server::{Layer, serve_base};
use crate::support::tarball::{directory, file};
use crate::support::{Project, tools, trials};

/// What is more is refused here for every input (bytes).
const MEMORY: u64 = 700 << 20;

/// A tar as it is written, in zstd or gzip, and its DiffId.
struct Squeezed {
    hasher: sha2::Sha256,
    out: Box<dyn Write>,
    path: std::path::PathBuf,
}

impl Squeezed {
    fn new(project: &Project, codec: &str) -> Self {
        let path = project.path(codec);
        let out = std::fs::File::create(&path).unwrap();
        let out: Box<dyn Write> = match codec {
            "zstd" => Box::new(zstd::Encoder::new(out, 1).unwrap().auto_finish()),
            _ => Box::new(flate2::write::GzEncoder::new(out, flate2::Compression::best())),
        };
        Self { hasher: sha2::Sha256::new(), out, path }
    }

    fn finish(self) -> (Vec<u8>, String) {
        drop(self.out);
        let hex: String = self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        (std::fs::read(&self.path).unwrap(), format!("sha256:{hex}"))
    }
}

impl Write for Squeezed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.hasher.update(bytes);
        self.out.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn squeezed(project: &Project, codec: &str, write: impl FnOnce(&mut Builder<Squeezed>)) -> (Vec<u8>, String) {
    let mut tar = Builder::new(Squeezed::new(project, codec));
    write(&mut tar);
    tar.into_inner().unwrap().finish()
}

/// Unpacked, listed and added: the exit codes, what was said, and the most memory that one of them took.
fn used(project: &Project, (blob, diff_id): (Vec<u8>, String)) -> ([Option<i32>; 3], String, u64) {
    let base = format!("{}/base", serve_base(&[Layer { promised: &blob, diff_id, served: &blob }]));
    project.write("Dockerfile", format!("FROM {base}\nWORKDIR /made\n"));
    let unpacked = project.build::<&str>([]).watched();
    let listed = project.brik(["inspect", "--files", "--format", "json", &base]).watched();
    project.write("archive", &blob);
    project.write("Dockerfile", "FROM scratch\nADD archive /x/\n");
    let added = project.build::<&str>([]).watched();
    let runs = [&unpacked, &listed, &added];
    let said =
        runs.map(|(run, _)| run.stderr.lines().filter(|line| line.contains("error") || line.contains("more than")).collect::<String>());
    (runs.map(|(run, _)| run.code), said.join("\n"), runs.map(|(_, memory)| *memory).into_iter().max().unwrap_or(0))
}

#[test]
fn many_entries_take_time_and_little_memory() {
    let (project, count) = (Project::empty(), trials(1) * 10_000);
    let layer = squeezed(&project, "gzip", |tar| {
        for n in 0..count {
            file(format!("d{}/e{}/file-{n}", n % 10, n % 1000), "").append(tar);
        }
    });
    let (codes, said, memory) = used(&project, layer);
    println!("{count} entries: exit codes {codes:?}, {} MiB", memory >> 20);
    assert_eq!(codes, [Some(0); 3], "{said}");
    assert!(memory < (200 << 20) + count as u64 * 600, "{memory} bytes");
}

#[test]
fn bombs_end_in_an_error_or_in_the_right_image() {
    if trials(1) < 2 {
        tools::skipped("gigabytes are decoded with BRIK_TRIALS=2 or more only");
        return;
    }
    let zeros = |size: u64| {
        move |tar: &mut Builder<Squeezed>| {
            let mut header = tar::Header::new_gnu();
            header.set_path("zeros").unwrap();
            header.set_size(size);
            header.set_cksum();
            tar.append(&header, std::io::Read::take(std::io::repeat(0), size)).unwrap();
        }
    };
    for (what, codec, says) in [("6 GiB of zeros in zstd", "zstd", "times its own size"), ("6 GiB of zeros in gzip", "gzip", "")] {
        let project = Project::empty();
        let layer = squeezed(&project, codec, zeros(6 << 30));
        let bytes = layer.0.len();
        let (codes, said, memory) = used(&project, layer);
        println!("{what} ({bytes} bytes): exit codes {codes:?}, {} MiB; {said}", memory >> 20);
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 1))) && said.contains(says) && memory < MEMORY, "{what}: {said}");
    }

    let project = Project::empty();
    let parent = vec!["n".repeat(254); 15].join("/");
    let layer = squeezed(&project, "gzip", |tar| {
        (0..80_000).for_each(|n| directory(format!("{parent}/{n}")).append(tar));
    });
    let bytes = layer.0.len();
    let (codes, said, memory) = used(&project, layer);
    println!("300 MB of names ({bytes} bytes): exit codes {codes:?}, {} MiB; {said}", memory >> 20);
    assert!(codes == [Some(1); 3] && said.contains("names in the archive take more than") && memory < MEMORY, "{said}");
}
