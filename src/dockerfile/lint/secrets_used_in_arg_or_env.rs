//! SecretsUsedInArgOrEnv.

use super::super::ast::InstructionKind;
use super::reading::{Reading, Role};
use super::warning::Warnings;

/// One of these among the words of a name, between underscores, makes it a secret's…
const SECRET: [&str; 10] = ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
/// …unless one of these is among them too.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    let message = |instruction: &str, name: &str| format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})");
    for step in reading.stages.iter().flatten() {
        match &step.instruction.kind {
            InstructionKind::Arg(args) => {
                for name in args.iter().map(|arg| &arg.name).filter(|name| is_secret(&name.text)) {
                    warnings.about(step.statement(), step.place(name.span), message("ARG", &name.text));
                }
            }
            InstructionKind::Env(_) => {
                for key in step.certain(Role::Key).filter(|key| is_secret(&key.expanded.text)) {
                    warnings.about(step.statement(), step.place(key.span), message("ENV", &key.expanded.text));
                }
            }
            _ => {}
        }
    }
}

/// Whether a variable of this name is taken for a secret.
pub fn is_secret(name: &str) -> bool {
    let has = |words: &[&str]| name.split('_').any(|part| words.iter().any(|word| word.eq_ignore_ascii_case(part)));
    has(&SECRET) && !has(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect, label};

    #[test]
    fn names_of_secrets_are_told() {
        let text = "\nFROM scratch\nARG SECRET_PASSPHRASE\nENV SUPER_Secret=foo\nENV password=bar secret=baz\nARG super_duper_secret_token=foo auth=bar\nENV apikey=bar sunflower=foo\nENV git_key=\nENV PUBLIC_KEY=\nARG public_token\nARG SECRET_PASSPHRASE_FILE\nENV password_file=bar secret_File=baz\nARG AUTH_MODULE_VERSION\nENV monkey=1 keyring=2 authority=3\n";
        let found = [
            (3, "ARG", "SECRET_PASSPHRASE"),
            (4, "ENV", "SUPER_Secret"),
            (5, "ENV", "password"),
            (5, "ENV", "secret"),
            (6, "ARG", "super_duper_secret_token"),
            (6, "ARG", "auth"),
            (7, "ENV", "apikey"),
            (8, "ENV", "git_key"),
        ];
        let found = found.map(|(line, instruction, name)| {
            (line, format!("Do not use ARG or ENV instructions for sensitive data ({instruction} \"{name}\")"))
        });
        let found: Vec<(usize, &str)> = found.iter().map(|(line, message)| (*line, message.as_str())).collect();
        expect("SecretsUsedInArgOrEnv", &bare(), &[(text, &found), ("ARG token=1\nFROM scratch\nLABEL token=1\n", &[])]);
        assert_eq!(label("SecretsUsedInArgOrEnv", "FROM a\nENV a=1 TOKEN=2\n", &bare()), Some("TOKEN"));
    }
}
