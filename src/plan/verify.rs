//! What planning would refuse whatever the base images and the context hold: found before anything is asked of a registry, all at once.

use super::add::{SourceKind, checksum, source_kind};
use super::contexts::NamedContexts;
use super::error::{Error, ErrorKind};
use super::mode::ModeChange;
use super::signal::check_signal;
use super::survey::{Dockerfile, Survey, sources};
use crate::dockerfile::ast::{AddFiles, RunCommand, Transfer};
use crate::dockerfile::{Expansion, Instruction, InstructionKind, Mount, Span, Word, WordError, WordErrorKind, parse_ports};
use crate::source::PatternList;

/// So many are reported of one Dockerfile.
const MOST_ERRORS: usize = 100;

impl Dockerfile {
    /// The faults of the stages that are needed, as far as they do not depend on a variable. BuildKit does not look at other stages.
    pub fn verify(&self, survey: &Survey, contexts: &NamedContexts) -> Vec<Error> {
        let mut verifier = Verifier { dockerfile: self, stage: 0, errors: Vec::new() };
        for stage in survey.needed.iter().filter(|stage| !self.is_replaced(**stage, contexts)) {
            verifier.stage = *stage;
            self.syntax.stages[*stage].instructions.iter().for_each(|instruction| verifier.instruction(instruction));
        }
        verifier.errors
    }
}

struct Verifier<'a> {
    dockerfile: &'a Dockerfile,
    stage: usize,
    errors: Vec<Error>,
}

impl Verifier<'_> {
    fn instruction(&mut self, instruction: &Instruction) {
        for (name, span, _) in sources(instruction) {
            // An index or a name that is no stage is the survey's.
            if self.dockerfile.syntax.stage_by_name_or_index(&name).is_some_and(|stage| stage > self.stage) {
                let stage = self.dockerfile.stage_label(self.stage);
                self.refuse(span, ErrorKind::StageLater { from: name, stage });
            }
        }
        match &instruction.kind {
            InstructionKind::Add(add) => self.add(add),
            InstructionKind::Copy(copy) => {
                self.transfer(&copy.transfer);
                if copy.from.is_none() {
                    self.source_kinds(false, &copy.transfer, None);
                }
            }
            InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
                pairs.iter().flat_map(|pair| [&pair.key, &pair.value]).for_each(|word| drop(self.literal(word)));
            }
            InstructionKind::Expose(words) => words.iter().for_each(|word| self.ports(word)),
            InstructionKind::Run(run) => self.run(run),
            InstructionKind::Stopsignal(word) => {
                let signal = self.literal(word).map_or(Ok(()), |signal| check_signal(&signal));
                self.keep(word.span, signal);
            }
            InstructionKind::User(word) | InstructionKind::Workdir(word) => drop(self.literal(word)),
            InstructionKind::Volume(words) => words.iter().for_each(|word| drop(self.literal(word))),
            // An argument given on the command line may take the place of a default; the others name no variables.
            InstructionKind::Arg(_)
            | InstructionKind::Cmd(_)
            | InstructionKind::Entrypoint(_)
            | InstructionKind::Healthcheck(_)
            | InstructionKind::Maintainer(_)
            | InstructionKind::Onbuild(_)
            | InstructionKind::Shell(_) => {}
        }
    }

    fn add(&mut self, add: &AddFiles) {
        self.transfer(&add.transfer);
        let kinds = self.source_kinds(true, &add.transfer, add.keep_git_dir);
        if let Some(word) = &add.checksum
            && let (Some(text), Some(kinds)) = (self.literal(word), kinds)
        {
            self.keep(word.span, checksum(&text, &kinds));
        }
    }

    /// What the sources are, if they name no variables.
    fn source_kinds(&mut self, add: bool, transfer: &Transfer, keep_git_dir: Option<bool>) -> Option<Vec<SourceKind>> {
        let kind = |word: &Word| {
            let source = self.literal(word)?;
            match source_kind(add, &source, keep_git_dir) {
                Ok(kind) => Some(kind),
                Err(error) => {
                    self.refuse(word.span, error);
                    None
                }
            }
        };
        transfer.sources.iter().map(kind).collect()
    }

    fn transfer(&mut self, transfer: &Transfer) {
        [&transfer.destination].into_iter().chain(&transfer.chown).for_each(|word| drop(self.literal(word)));
        if let Some(word) = &transfer.chmod {
            let mode = self.literal(word).filter(|mode| !mode.is_empty()).map(|mode| ModeChange::parse(&mode));
            self.keep(word.span, mode.transpose());
        }
        for word in &transfer.exclude {
            self.keep(word.span, PatternList::new([&word.text]).map_err(crate::source::Error::from));
        }
    }

    fn run(&mut self, run: &RunCommand) {
        for word in &run.mounts {
            let expander = self.dockerfile.expander();
            let mut variables = false;
            let mut expand = |value: &str| {
                let expanded = expander.word(value, &|_| None)?;
                variables |= !expanded.unmatched.is_empty();
                Ok(expanded.text)
            };
            match Mount::parse(&word.text, &mut expand) {
                Err(error) if !variables && !depends_on_variables(&error) => self.refuse(word.span, error),
                _ => {}
            }
        }
    }

    fn ports(&mut self, word: &Word) {
        let Some(_) = self.literal(word) else { return };
        for port in self.dockerfile.expander().words(&word.text, &|_| None).unwrap_or_default() {
            self.keep(word.span, parse_ports(&port));
        }
    }

    /// What a word without variables says.
    fn literal(&mut self, word: &Word) -> Option<String> {
        match self.dockerfile.expander().word(&word.text, &|_| None) {
            Ok(Expansion { text, unmatched, .. }) => unmatched.is_empty().then_some(text),
            Err(error) => {
                if !needs_value(&error) {
                    self.refuse(word.span, error);
                }
                None
            }
        }
    }

    fn keep<T>(&mut self, span: Span, result: Result<T, impl Into<ErrorKind>>) {
        result.map_or_else(|error| self.refuse(span, error), drop);
    }

    fn refuse(&mut self, span: Span, kind: impl Into<ErrorKind>) {
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(self.dockerfile.error(span, kind));
        }
    }
}

/// Whether a word fails for want of a value only.
fn needs_value(error: &WordError) -> bool {
    matches!(error.kind, WordErrorKind::Required { .. })
}

fn depends_on_variables(error: &crate::dockerfile::MountError) -> bool {
    matches!(error, crate::dockerfile::MountError::Word(error) if needs_value(error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::oci::Platform;

    /// The bytes at fault and what is wrong with them.
    fn found(text: &str) -> Vec<(String, String)> {
        let dockerfile = Dockerfile::parse(Path::new("Dockerfile"), text.as_bytes()).unwrap();
        let platform: Platform = "linux/amd64".parse().unwrap();
        let contexts = NamedContexts::default();
        let survey = dockerfile.survey(&BTreeMap::new(), None, &platform, &platform, &contexts).unwrap();
        let errors = dockerfile.verify(&survey, &contexts);
        errors.iter().map(|error| (text[error.span.clone()].to_owned(), error.to_string())).collect()
    }

    #[test]
    fn values_that_cannot_be_right_are_found() {
        let cases = [
            ("COPY --chmod=888 a b", "888", "invalid chmod parameter: '888'. it should be octal string and between 0 and 07777"),
            ("ADD --chmod=u=q a b", "u=q", "invalid chmod parameter: 'u=q': neither octal nor symbolic like u=rwX,go=rX"),
            ("ADD --checksum=sha256:1 a b", "sha256:1", "checksum requires HTTP(S) or Git sources"),
            ("COPY --exclude=[ a b", "[", "invalid pattern \"[\": `[` is not closed"),
            ("STOPSIGNAL SIGNOPE", "SIGNOPE", "invalid signal: SIGNOPE"),
            ("EXPOSE 80 http", "http", "invalid container port: http"),
            ("ENV a=${b", "${b", "failed to process \"${b\": unsupported modifier (\u{fffd}) in substitution"),
            ("WORKDIR 'a", "'a", "failed to process \"'a\": unexpected end of statement while looking for matching single-quote"),
            ("RUN --mount=type=tmp,target=/a b", "type=tmp,target=/a", "unsupported mount type \"tmp\""),
            ("RUN --mount=tpye=bind b", "tpye=bind", "unexpected key 'tpye' in 'tpye=bind'"),
        ];
        for (line, bytes, message) in cases {
            assert_eq!(found(&format!("FROM scratch\n{line}\n")), [(bytes.to_owned(), message.to_owned())], "{line}");
        }
    }

    #[test]
    fn a_later_stage_is_no_source() {
        let text = "FROM scratch AS a\nCOPY --from=b x y\nFROM scratch AS b\nFROM scratch\nCOPY --from=a x y\nCOPY --from=b x y\n";
        let message = "cannot copy from stage \"b\", it needs to be defined before current stage \"a\"";
        assert_eq!(found(text), [("b".to_owned(), message.to_owned())]);
    }

    #[test]
    fn what_depends_on_variables_or_is_not_needed_is_left_to_the_build() {
        let lines =
            ["COPY --chmod=$M a b", "EXPOSE $P", "STOPSIGNAL ${S:-9}", "RUN --mount=type=$T,target=/a b", "ENV a=${b:?no}", "USER u"];
        for line in lines {
            assert_eq!(found(&format!("FROM scratch\n{line}\n")), [], "{line}");
        }
        assert_eq!(found("FROM scratch AS a\nCOPY --chmod=9 a b\nFROM scratch\n"), []);
    }
}
