//! `RUN --mount=…`: the options of a mount.

use super::ast::Word;
use super::csv::{CsvError, fields};
use super::size::parse_size;
use super::suggest::nearest;
use super::word::WordError;
use super::{SyntaxError, SyntaxErrorKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountType {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl MountType {
    const ALL: [(&'static str, Self); 5] =
        [("bind", Self::Bind), ("cache", Self::Cache), ("tmpfs", Self::Tmpfs), ("secret", Self::Secret), ("ssh", Self::Ssh)];

    /// The name in `type=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    Shared,
    Private,
    Locked,
}

impl Sharing {
    const ALL: [(&'static str, Self); 3] = [("shared", Self::Shared), ("private", Self::Private), ("locked", Self::Locked)];
}

/// A mount as written; defaults that depend on the type (id, target, mode) are the reader's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub kind: MountType,
    /// A stage's name, a named context or an image.
    pub from: Option<String>,
    pub source: Option<String>,
    pub target: Option<String>,
    pub read_only: bool,
    pub id: Option<String>,
    pub sharing: Option<Sharing>,
    pub required: bool,
    /// The limit of a tmpfs in bytes.
    pub size: Option<i64>,
    /// Permission bits.
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// The variable that holds a secret; empty means that the secret's id names it.
    pub env: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    #[error("failed to parse csv mounts: {0}")]
    Csv(#[from] CsvError),
    #[error(transparent)]
    Word(#[from] WordError),
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    FromVariable,
    #[error("invalid field '{0}' must be a key=value pair")]
    NotKeyValue(String),
    #[error("unexpected key '{key}' in '{field}'")]
    UnknownKey { key: String, field: String, suggestion: Option<&'static str> },
    #[error("unexpected key '{key}' for mount type '{kind}'")]
    KeyForType { key: String, kind: &'static str },
    #[error("unsupported mount type {value:?}")]
    UnknownType { value: String, suggestion: Option<&'static str> },
    #[error("unsupported sharing value {value:?}")]
    UnknownSharing { value: String, suggestion: Option<&'static str> },
    #[error("invalid value for {key}: {value}")]
    InvalidValue { key: String, value: String },
    #[error("{key} not allowed for {kind:?} type mounts")]
    NotAllowed { key: &'static str, kind: &'static str },
    #[error("secret mount should not have a from")]
    SecretFrom,
    #[error("secret mount should not define sharing")]
    SecretSharing,
    #[error("invalid secret mount. one of source, target required")]
    SecretWithoutSource,
    #[error("both source and id can't be set")]
    SourceAndId,
    #[error("invalid cache sharing set for {kind} mount")]
    SharingForType { kind: &'static str },
}

impl MountError {
    pub fn help(&self) -> Option<String> {
        match self {
            Self::UnknownKey { suggestion, .. } | Self::UnknownType { suggestion, .. } | Self::UnknownSharing { suggestion, .. } => {
                suggestion.map(|name| format!("did you mean {name}?"))
            }
            Self::FromVariable => Some("define a stage with `FROM $NAME AS alias` and mount from the alias".into()),
            _ => None,
        }
    }
}

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// What can be said about a mount before its values are expanded.
pub(super) fn check(value: &Word) -> Result<(), SyntaxError> {
    let fault = |error: MountError| SyntaxError::new(SyntaxErrorKind::Mount(error), value.span);
    for field in fields(&value.text).map_err(|error| fault(error.into()))? {
        let from = field.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("from"));
        if from.is_some_and(|(_, from)| names_variable(from)) {
            return Err(fault(MountError::FromVariable));
        }
    }
    Ok(())
}

/// A `$` that is not the last character.
pub(super) fn names_variable(text: &str) -> bool {
    text.find('$').is_some_and(|at| at + 1 < text.len())
}

impl Mount {
    /// Reads the value of a `--mount` flag. Each option's value is given to `expand`; commas and keys come from the text itself.
    pub fn parse(text: &str, expand: &mut dyn FnMut(&str) -> Result<String, WordError>) -> Result<Self, MountError> {
        let mut mount = Self {
            kind: MountType::Bind,
            from: None,
            source: None,
            target: None,
            read_only: false,
            id: None,
            sharing: None,
            required: false,
            size: None,
            mode: None,
            uid: None,
            gid: None,
            env: None,
        };
        let mut read_only = None;
        for field in fields(text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(expand(value)?)),
                None => (field.to_lowercase(), None),
            };
            match key.as_str() {
                "readonly" | "ro" => read_only = Some(switch(&key, value)?),
                "readwrite" | "rw" => read_only = Some(!switch(&key, value)?),
                "required" => {
                    mount.only_for(&key, &[MountType::Secret, MountType::Ssh])?;
                    mount.required = switch(&key, value)?;
                }
                _ => mount.set(key, value.ok_or_else(|| MountError::NotKeyValue(field.clone()))?, &field)?,
            }
        }
        // Where only the reader's own files are at stake, writing is the default.
        mount.read_only = read_only.unwrap_or(!matches!(mount.kind, MountType::Cache | MountType::Tmpfs));
        mount.validate()?;
        Ok(mount)
    }

    fn set(&mut self, key: String, value: String, field: &str) -> Result<(), MountError> {
        let text = |value: String| Some(value).filter(|value| !value.is_empty());
        match key.as_str() {
            "type" => self.kind = one_of(&MountType::ALL, value, |value, suggestion| MountError::UnknownType { value, suggestion })?,
            "sharing" => {
                let refuse = |value, suggestion| MountError::UnknownSharing { value, suggestion };
                self.sharing = Some(one_of(&Sharing::ALL, value, refuse)?);
            }
            "from" => self.from = text(value),
            "source" | "src" => self.source = text(value),
            "target" | "dst" | "destination" => self.target = text(value),
            "id" => self.id = text(value),
            "env" => self.env = Some(value),
            "size" => {
                self.only_for(&key, &[MountType::Tmpfs])?;
                self.size = Some(parse_size(&value).ok_or(MountError::InvalidValue { key, value })?);
            }
            "mode" => self.mode = Some(number(key, value, 8)?),
            "uid" => self.uid = Some(number(key, value, 10)?),
            "gid" => self.gid = Some(number(key, value, 10)?),
            _ => {
                let suggestion = nearest(&key, KEYS);
                return Err(MountError::UnknownKey { key, field: field.to_owned(), suggestion });
            }
        }
        Ok(())
    }

    fn only_for(&self, key: &str, kinds: &[MountType]) -> Result<(), MountError> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        Err(MountError::KeyForType { key: key.to_owned(), kind: self.kind.name() })
    }

    fn validate(&self) -> Result<(), MountError> {
        let kind = self.kind.name();
        if matches!(self.kind, MountType::Bind | MountType::Tmpfs) {
            let owner = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((key, _)) = owner.into_iter().find(|(_, value)| value.is_some()) {
                return Err(MountError::NotAllowed { key, kind });
            }
        }
        if self.kind == MountType::Secret {
            if self.from.is_some() {
                return Err(MountError::SecretFrom);
            }
            if self.sharing.is_some() {
                return Err(MountError::SecretSharing);
            }
            if self.source.is_none() && self.target.is_none() && self.id.is_none() {
                return Err(MountError::SecretWithoutSource);
            }
            if self.source.is_some() && self.id.is_some() {
                return Err(MountError::SourceAndId);
            }
        }
        if self.sharing.is_some() && self.kind != MountType::Cache {
            return Err(MountError::SharingForType { kind });
        }
        Ok(())
    }
}

fn one_of<T: Copy>(
    all: &[(&'static str, T)],
    value: String,
    refuse: impl FnOnce(String, Option<&'static str>) -> MountError,
) -> Result<T, MountError> {
    let lower = value.to_lowercase();
    if let Some((_, found)) = all.iter().find(|(name, _)| *name == lower) {
        return Ok(*found);
    }
    let suggestion = nearest(&value, all.iter().map(|(name, _)| *name));
    Err(refuse(value, suggestion))
}

/// A key alone means true; its value is read as Go's `strconv.ParseBool` does.
fn switch(key: &str, value: Option<String>) -> Result<bool, MountError> {
    match value.as_deref() {
        None | Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some(value) => Err(MountError::InvalidValue { key: key.to_owned(), value: value.to_owned() }),
    }
}

fn number(key: String, value: String, radix: u32) -> Result<u32, MountError> {
    match u32::from_str_radix(&value, radix) {
        Ok(number) if !value.starts_with('+') => Ok(number),
        _ => Err(MountError::InvalidValue { key, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Mount, String> {
        Mount::parse(text, &mut |value| Ok(value.replace("$X", "expanded"))).map_err(|error| error.to_string())
    }

    #[test]
    fn every_option_is_read() {
        let mount = parse("type=cache,target=/$X,id=$X,source=s,from=base,sharing=LOCKED,mode=0755,uid=1,gid=2,ro").unwrap();
        let expected = Mount {
            kind: MountType::Cache,
            from: Some("base".into()),
            source: Some("s".into()),
            target: Some("/expanded".into()),
            read_only: true,
            id: Some("expanded".into()),
            sharing: Some(Sharing::Locked),
            required: false,
            size: None,
            mode: Some(0o755),
            uid: Some(1),
            gid: Some(2),
            env: None,
        };
        assert_eq!(mount, expected);
        let secret = parse("type=secret,id=a,env=,required").unwrap();
        assert_eq!((secret.required, secret.env.as_deref()), (true, Some("")));
        assert_eq!(parse("type=tmpfs,dst=/t,size=1k").unwrap().size, Some(1024));
    }

    #[test]
    fn writing_is_the_default_for_caches_and_tmpfs_only() {
        let cases = [
            ("target=/a", true),
            ("target=/a,rw", false),
            ("target=/a,readonly=false", false),
            ("target=/a,rw=false", true),
            ("type=cache,target=/a", false),
            ("type=cache,target=/a,readonly", true),
            ("type=tmpfs,target=/a", false),
            ("type=ssh", true),
        ];
        for (text, read_only) in cases {
            assert_eq!(parse(text).map(|mount| mount.read_only), Ok(read_only), "{text}");
        }
    }

    #[test]
    fn wrong_options_are_refused_in_buildkits_words() {
        let cases = [
            ("type=tmp,target=/a", "unsupported mount type \"tmp\""),
            ("type=cache,sharing=share", "unsupported sharing value \"share\""),
            ("target", "invalid field 'target' must be a key=value pair"),
            ("foo=bar", "unexpected key 'foo' in 'foo=bar'"),
            ("target=/a,required", "unexpected key 'required' for mount type 'bind'"),
            ("target=/a,size=1m", "unexpected key 'size' for mount type 'bind'"),
            ("type=tmpfs,size=x", "invalid value for size: x"),
            ("type=cache,mode=9", "invalid value for mode: 9"),
            ("type=cache,ro=maybe", "invalid value for ro: maybe"),
            ("target=/a,uid=1", "uid not allowed for \"bind\" type mounts"),
            ("type=secret", "invalid secret mount. one of source, target required"),
            ("type=secret,id=a,source=b", "both source and id can't be set"),
            ("type=secret,id=a,from=b", "secret mount should not have a from"),
            ("type=bind,sharing=locked", "invalid cache sharing set for bind mount"),
            ("a\"b", "failed to parse csv mounts: bare \" in non-quoted field"),
        ];
        for (text, message) in cases {
            assert_eq!(parse(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_near_miss_is_suggested() {
        let help = |text| Mount::parse(text, &mut |value| Ok(value.to_owned())).unwrap_err().help();
        assert_eq!(help("type=tmp").as_deref(), Some("did you mean tmpfs?"));
        assert_eq!(help("taget=/a").as_deref(), Some("did you mean target?"));
        assert_eq!(help("colour=red"), None);
    }
}
