//! Debian's buildah, two services at a time.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::builder::{Builder, Job};
use crate::inputs::Inputs;
use crate::process::{first_line, is_installed, remove, shell};
use crate::registry::HOST;

pub struct Buildah {
    storage: PathBuf,
}

impl Buildah {
    pub fn find(scratch: &Path) -> Option<Self> {
        is_installed("buildah").then(|| Self { storage: scratch.join("buildah") })
    }
}

impl Builder for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn version(&self) -> String {
        first_line(Command::new("buildah").arg("--version"))
    }

    fn start(&mut self, _: Option<&Path>) -> Result<(), String> {
        self.forget()
    }

    fn forget(&mut self) -> Result<(), String> {
        remove(&self.storage)
    }

    fn commands(&self, inputs: &Inputs, job: Job) -> Vec<Command> {
        let storage = self.storage.display();
        let buildah = format!("buildah --root {storage}/root --runroot {storage}/run --storage-driver overlay");
        let command = |service: &String| {
            let image = format!("{HOST}/bench/{service}:{}", job.tag);
            let cache = if job.shared_cache {
                format!("--cache-from {HOST}/bench/{service}-cache --cache-to {HOST}/bench/{service}-cache")
            } else {
                String::new()
            };
            let (dockerfile, context) = (inputs.dockerfile(service), inputs.context(service));
            let (dockerfile, context) = (dockerfile.display(), context.display());
            shell(&format!(
                "{buildah} build --layers {cache} --isolation chroot --network host --tls-verify=false -t {image} -f {dockerfile} {context} \
                 && {buildah} push --tls-verify=false {image}"
            ))
        };
        inputs.services.iter().map(command).collect()
    }

    fn processes(&self) -> Vec<String> {
        ["buildah", "exe"].map(str::to_owned).to_vec()
    }
}
