//! Pushes that registries have refused: one diagnostic for a reason, however many images it is about.

use crate::build;
use crate::config::Finding;
use crate::oci::Reference;
use crate::registry::{At, Error, Shown};

/// Takes refused pushes out of `failures`. `image_of`: where a service is pushed to.
pub fn refused_pushes<'i>(failures: &mut Vec<&build::Failure>, image_of: impl Fn(&str) -> Option<&'i Reference>) -> Vec<Finding> {
    let mut refused: Vec<(&Error, Vec<&str>)> = Vec::new();
    failures.retain(|failure| {
        let (Some(service), build::Error::Registry(error)) = (failure.service.as_deref(), &*failure.error) else { return true };
        let Some((at, status, shown)) = refusal(error) else { return true };
        // Whoever exports may be refused a base.
        if !image_of(service).is_some_and(|image| image.registry == at.registry && image.repository == at.repository) {
            return true;
        }
        let is_same =
            |other: &Error| refusal(other).is_some_and(|(place, code, by)| (&place.registry, code, by) == (&at.registry, status, shown));
        match refused.iter_mut().find(|(other, _)| is_same(other)) {
            Some((_, services)) => services.push(service),
            None => refused.push((error, Vec::new())),
        }
        false
    });
    let finding = |(error, others): (&Error, Vec<&str>)| {
        let others = if others.is_empty() { String::new() } else { format!("; the same of {}", others.join(", ")) };
        Finding::error("brik::push::refused", format!("{error}{others}")).maybe_help(error.advice())
    };
    refused.into_iter().map(finding).collect()
}

/// Where, how and to whom a registry has said no.
fn refusal(error: &Error) -> Option<(&At, u16, &Shown)> {
    match error {
        Error::Unauthorized { at, status, credentials, .. } | Error::Denied { at, status, credentials, .. } => {
            Some((at, *status, credentials))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Reply;

    fn failure(service: &str, registry: &str, status: u16) -> build::Failure {
        let at = Box::new(At { registry: registry.to_owned(), repository: format!("org/{service}"), step: "look up v1".to_owned() });
        let (credentials, reply, help) = (Box::<Shown>::default(), Reply::default(), "log in".to_owned());
        let error = match status {
            401 => Error::Unauthorized { at, status, credentials, reply, help },
            403 => Error::Denied { at, status, credentials, reply, help },
            _ => Error::NotFound { at, status, reply },
        };
        build::Failure::of_service(service, build::Error::Registry(error))
    }

    #[test]
    fn refused_pushes_are_one_diagnostic_for_a_reason_and_other_failures_stay() {
        let all =
            [("a", "r.io", 401), ("b", "r.io", 401), ("c", "r.io", 403), ("d", "base.io", 401), ("e", "r.io", 404), ("f", "r.io", 401)];
        let all = all.map(|(service, registry, status)| failure(service, registry, status));
        let images: Vec<Reference> = ["a", "b", "c", "d", "e", "f"].map(|name| format!("r.io/org/{name}").parse().unwrap()).into();
        let mut failures: Vec<&build::Failure> = all.iter().collect();
        let findings = refused_pushes(&mut failures, |name| images.iter().find(|image| image.repository == format!("org/{name}")));
        let left: Vec<&str> = failures.iter().filter_map(|failure| failure.service.as_deref()).collect();
        assert_eq!(left, ["d", "e"]);
        let told: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("r.io/org/a: cannot look up v1: not authorised ") && told[0].ends_with("; the same of b, f"),
            "{told:?}"
        );
        assert!(told[1].starts_with("r.io/org/c: cannot look up v1: denied ") && !told[1].contains("the same"), "{told:?}");
        assert!(findings.iter().all(|finding| finding.help.as_deref() == Some("log in")));
    }
}
