//! What is taken out of a repository (distribution spec, "Content Management").

use reqwest::Method;

use super::auth::Scopes;
use super::{Client, Error};
use crate::oci::{Digest, Reference};

impl Client {
    /// Removes a manifest and all tags that lead to it; `false` where there was none. Blobs go when the registry collects its garbage.
    pub fn delete_manifest(&self, repository: &Reference, digest: &Digest) -> Result<bool, Error> {
        let session = self.origin(repository)?;
        let call = session.call(Method::DELETE, &format!("manifests/{digest}"), session.at(format!("delete manifest {digest}")));
        let sent = self.block(async {
            match session.send(&call, &Scopes::delete(&session.repository)).await {
                // Some token servers, GHCR's among them, know no such scope: who may push is who may delete there, if anybody may.
                Err(Error::Denied { .. } | Error::Unauthorized { .. }) => session.send(&call, &Scopes::push(&session.repository)).await,
                sent => sent,
            }
        });
        match sent {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(Error::Status { at, status, reply }) if status == 405 || reply.code == "UNSUPPORTED" => {
                let help = help(repository);
                Err(Error::NoDelete { at, status, reply, help })
            }
            Err(error) => Err(error),
        }
    }
}

/// How else content goes away.
fn help(repository: &Reference) -> String {
    let (owner, package) = repository.repository.split_once('/').unwrap_or((&repository.repository, ""));
    match repository.registry.as_str() {
        "ghcr.io" => {
            let versions = format!("/orgs/{owner}/packages/container/{}/versions", package.replace('/', "%2F"));
            format!(
                "on GitHub, versions of a package are deleted by its REST API, by who has the role Admin on the package (with a classic token: \
                 delete:packages); a version's name is the digest of its manifest. Of a user's package, /users/{owner} stands for \
                 /orgs/{owner}. `gh api --paginate {versions} --jq '.[] | \"\\(.id) \\(.name)\"'` lists ID and digest, \
                 `gh api --method DELETE {versions}/ID` deletes"
            )
        }
        _ => "let the registry allow deletes (of docker's own: `storage: {delete: {enabled: true}}`), or use its own means of deleting"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_github_the_exact_command_is_told() {
        let text = help(&"ghcr.io/org/team/app-cache".parse().unwrap());
        assert!(text.contains("`gh api --method DELETE /orgs/org/packages/container/team%2Fapp-cache/versions/ID`"), "{text}");
        assert!(!help(&"r.example/app".parse().unwrap()).contains("gh api"));
    }
}
