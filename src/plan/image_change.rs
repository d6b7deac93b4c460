//! What of an image changed besides its layers: the inputs of its key, told as the instructions that they come from.

use std::collections::BTreeMap;

use serde_json::Value;

use super::key::KeyInputs;
use super::miss::MissReason;

/// The differences of two image keys' inputs. The root is left to what is said of Steps.
pub(super) fn image_changes(old: &KeyInputs, new: &KeyInputs) -> Vec<MissReason> {
    let value = |inputs: &KeyInputs, wanted: &str| inputs.parts().iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let mut changes = Vec::new();
    let [old_format, new_format] = [old, new].map(|inputs| value(inputs, "format"));
    if old_format != new_format {
        changes.push(MissReason::Config { name: "format".to_owned(), old: old_format, new: new_format });
    }
    let [old, new] = [old, new].map(|inputs| value(inputs, "config").unwrap_or_default());
    if old == new {
        return changes;
    }
    let [old, new] = [old, new].map(|config| facts(&config));
    let (Some(old), Some(new)) = (old, new) else {
        // It was too long to be kept.
        changes.push(MissReason::Config { name: "configuration".to_owned(), old: None, new: None });
        return changes;
    };
    let names = old.keys().chain(new.keys()).collect::<std::collections::BTreeSet<_>>();
    for name in names {
        let (old, new) = (old.get(name), new.get(name));
        if old != new {
            changes.push(MissReason::Config { name: name.clone(), old: old.cloned(), new: new.cloned() });
        }
    }
    changes
}

/// An image configuration as named values. Its history says nothing that is not in the rest.
fn facts(config: &str) -> Option<BTreeMap<String, String>> {
    let mut facts = BTreeMap::new();
    let Ok(Value::Object(image)) = serde_json::from_str(config) else { return None };
    for (name, value) in &image {
        match (name.as_str(), value) {
            ("history" | "rootfs", _) => {}
            ("config", Value::Object(config)) => config.iter().for_each(|(name, value)| container_facts(name, value, &mut facts)),
            _ => drop(facts.insert(name.clone(), text(value))),
        }
    }
    Some(facts)
}

fn container_facts(name: &str, value: &Value, facts: &mut BTreeMap<String, String>) {
    let instruction = match name {
        "Env" => "ENV",
        "Labels" => "LABEL",
        "ExposedPorts" => "EXPOSE",
        "Volumes" => "VOLUME",
        "Entrypoint" => "ENTRYPOINT",
        "Cmd" => "CMD",
        "User" => "USER",
        "WorkingDir" => "WORKDIR",
        "StopSignal" => "STOPSIGNAL",
        "Healthcheck" => "HEALTHCHECK",
        "OnBuild" => "ONBUILD",
        "Shell" => "SHELL",
        other => other,
    };
    match (name, value) {
        ("Env", Value::Array(entries)) => {
            for entry in entries.iter().filter_map(Value::as_str) {
                let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
                facts.insert(format!("{instruction} {name}"), value.to_owned());
            }
        }
        ("Labels" | "ExposedPorts" | "Volumes", Value::Object(entries)) => {
            facts.extend(entries.iter().map(|(name, value)| (format!("{instruction} {name}"), text(value))));
        }
        _ => drop(facts.insert(instruction.to_owned(), text(value))),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(format: &str, config: &str) -> KeyInputs {
        let mut inputs = KeyInputs::new("image");
        inputs.add("format", format);
        inputs.add("config", config);
        inputs
    }

    #[test]
    fn a_configuration_s_changes_are_told_as_instructions() {
        let config =
            r#"{"architecture":"amd64","config":{"Env":["A=1","B=2"],"Labels":{"x":"1"},"Cmd":["sh"],"User":"app"},"history":[1]}"#;
        for (what, changed, expected) in [
            ("nothing", config.to_owned(), ""),
            ("history alone", config.replace("[1]", "[2]"), ""),
            ("a variable", config.replace("B=2", "B=3"), "ENV B: 2 -> 3"),
            ("a label", config.replace(r#""x":"1""#, r#""y":"1""#), "LABEL x removed, was 1; LABEL y added: 1"),
            ("a command", config.replace(r#"["sh"]"#, r#"["sh","-c"]"#), r#"CMD: ["sh"] -> ["sh","-c"]"#),
            ("a user", config.replace(r#","User":"app""#, ""), "USER removed, was app"),
            ("a platform", config.replace("amd64", "arm64"), "architecture: amd64 -> arm64"),
            ("a cut one", config[..40].to_owned(), "configuration changed"),
        ] {
            let changes = image_changes(&inputs("oci", config), &inputs("oci", &changed));
            let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join("; "), expected, "{what}");
        }
        assert_eq!(image_changes(&inputs("oci", "cut"), &inputs("docker", "cut"))[0].to_string(), "format: oci -> docker");
    }
}
