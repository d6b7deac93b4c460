//! The forge that a git remote lies on, and the registry that goes with it.

/// What a remote's address says, as in `github.com` and `org/repository`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Remote {
    pub host: String,
    /// Without `.git`.
    pub path: String,
}

impl Remote {
    /// Reads `https://host/path.git`, `ssh://git@host:port/path` and `git@host:path`.
    pub fn parse(url: &str) -> Option<Self> {
        let (host, path) = match url.split_once("://") {
            Some(("file", _)) => return None,
            Some((_, rest)) => rest.split_once('/')?,
            None => url.split_once(':').filter(|(host, _)| !host.contains('/'))?,
        };
        let host = host.rsplit('@').next()?.split(':').next()?;
        let path = path.trim_matches('/').trim_end_matches(".git");
        let good = !host.is_empty() && !path.is_empty();
        good.then(|| Self { host: host.to_ascii_lowercase(), path: path.to_owned() })
    }

    pub fn owner(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    pub fn repository(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The registry that belongs to the forge; images of GitLab lie below their project.
    pub fn registry(&self) -> Option<String> {
        let owner = self.owner().to_ascii_lowercase();
        let registry = match self.host.as_str() {
            "github.com" => format!("ghcr.io/{owner}"),
            "gitlab.com" => format!("registry.gitlab.com/{}", self.path.to_ascii_lowercase()),
            "codeberg.org" => format!("codeberg.org/{owner}"),
            _ => return None,
        };
        format!("{registry}/x").parse::<crate::oci::Reference>().is_ok().then_some(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_that_of_the_forge() {
        let table = [
            ("https://github.com/Acme/Shop.git", Some("ghcr.io/acme"), "Shop"),
            ("git@github.com:acme/shop.git", Some("ghcr.io/acme"), "shop"),
            ("ssh://git@gitlab.com:22/Group/sub/shop", Some("registry.gitlab.com/group/sub/shop"), "shop"),
            ("https://git.example.com/acme/shop", None, "shop"),
        ];
        for (url, registry, repository) in table {
            let remote = Remote::parse(url).unwrap();
            assert_eq!((remote.registry().as_deref(), remote.repository()), (registry, repository), "{url}");
        }
        for url in
            ["", "/srv/git/shop.git", "file:///srv/shop", "../shop", "https://", "https://github.com/", ":", "https://github.com/-_/x"]
        {
            assert_eq!(Remote::parse(url).and_then(|remote| remote.registry()), None, "{url}");
        }
    }
}
