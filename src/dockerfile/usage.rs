//! How each instruction is written, for those who wrote it otherwise.

/// The form of an instruction; the name itself if there is no such instruction.
pub(super) fn usage(instruction: &'static str) -> &'static str {
    match instruction {
        "ADD" => "ADD [flags] source... destination",
        "ARG" => "ARG name[=default]...",
        "CMD" => "CMD [\"executable\", \"parameter\"]",
        "COPY" => "COPY [flags] source... destination",
        "ENTRYPOINT" => "ENTRYPOINT [\"executable\", \"parameter\"]",
        "ENV" => "ENV name=value...",
        "EXPOSE" => "EXPOSE port[/protocol]...",
        "FROM" => "FROM [--platform=platform] image [AS name]",
        "HEALTHCHECK" => "HEALTHCHECK [flags] CMD command, or HEALTHCHECK NONE",
        "LABEL" => "LABEL name=value...",
        "MAINTAINER" => "MAINTAINER name",
        "ONBUILD" => "ONBUILD instruction",
        "RUN" => "RUN [flags] command",
        "SHELL" => "SHELL [\"executable\", \"parameter\"]",
        "STOPSIGNAL" => "STOPSIGNAL signal",
        "USER" => "USER user[:group]",
        "VOLUME" => "VOLUME path...",
        "WORKDIR" => "WORKDIR path",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::NAMES;
    use super::*;

    #[test]
    fn every_instruction_has_a_form() {
        for name in NAMES {
            assert!(usage(name).starts_with(&format!("{name} ")), "{name}");
        }
    }
}
