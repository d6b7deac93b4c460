//! A step of docker/metadata-action: its outputs are known by what it is given.

use serde_json::Value;

use super::expression::Scope;
use crate::import::call::Metadata;
use crate::import::values::text;

/// What docker/metadata-action makes of a call without `tags`.
const DEFAULTS: &str = "type=schedule\ntype=ref,event=branch\ntype=ref,event=tag\ntype=ref,event=pr";

/// What the step behind `steps.ID.outputs.tags` makes tags of; `None` of any other expression.
pub(super) fn metadata(expression: &str, steps: &[Value], scope: &Scope) -> Option<Metadata> {
    let id = expression.strip_prefix("steps.")?.strip_suffix(".outputs.tags")?;
    let with = steps.iter().find(|other| other.get("id").and_then(Value::as_str) == Some(id)).and_then(|step| step.get("with"));
    let input = |name: &str| with.and_then(|with| with.get(name)).and_then(text).map(|text| scope.expand(&text)).unwrap_or_default();
    let tags = Some(input("tags")).filter(|tags| !tags.trim().is_empty()).unwrap_or_else(|| DEFAULTS.to_owned());
    Some(Metadata { images: input("images"), tags, has_flavor: !input("flavor").trim().is_empty() })
}
