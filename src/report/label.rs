//! The name of a Step, `[api build 3/7] RUN npm ci`, taken apart.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label<'n> {
    /// The first Service that needs the Step.
    pub service: &'n str,
    /// Stage and number: `build 3/7`.
    pub position: &'n str,
    pub instruction: &'n str,
}

impl<'n> Label<'n> {
    /// A name of another form is all instruction.
    pub fn of(name: &'n str) -> Self {
        let parts = name.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        let Some((label, instruction)) = parts else { return Self { service: "", position: "", instruction: name } };
        let (service, position) = label.split_once(' ').unwrap_or((label, ""));
        Self { service, position, instruction }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_three_parts_or_is_an_instruction() {
        for (name, service, position, instruction) in [
            ("[api build 3/7] RUN npm ci", "api", "build 3/7", "RUN npm ci"),
            ("[api stage-0 1/1] RUN [ -e /x ] && true", "api", "stage-0 1/1", "RUN [ -e /x ] && true"),
            ("[api] COPY . .", "api", "", "COPY . ."),
            ("RUN [\"true\"] x", "", "", "RUN [\"true\"] x"),
        ] {
            assert_eq!(Label::of(name), Label { service, position, instruction }, "{name}");
        }
    }
}
