//! ONBUILD.

use super::SyntaxErrorKind;
use super::ast::{Instruction, InstructionKind, Onbuild, Statement};
use super::error::Faults;
use super::instruction::parse_kind;
use super::request::{Parts, Request};
use super::settings::no_flags;

pub(super) fn parse_onbuild(request: &Request<'_>, statement: &Statement, faults: &mut Faults) -> Option<InstructionKind> {
    no_flags(request, faults);
    let parts = Parts::of(request.arguments);
    let keyword = parts.keyword;
    let refused = match keyword.text().to_uppercase().as_str() {
        "" => Some(request.error(SyntaxErrorKind::AtLeastOneArgument { instruction: request.name })),
        "ONBUILD" => Some(keyword.error(SyntaxErrorKind::OnbuildChain)),
        name @ ("MAINTAINER" | "FROM") => Some(keyword.error(SyntaxErrorKind::OnbuildTrigger { instruction: name.to_owned() })),
        _ => None,
    };
    faults.keep(refused.map_or(Ok(()), Err))?;
    let text = request.arguments.text();
    let bodies = request.heredocs.iter().flat_map(|heredoc| ["\n", &heredoc.content, &heredoc.name]);
    // BuildKit keeps the white space at the end of the line.
    let trigger = std::iter::once(request.arguments.rest_of_line()).chain(bodies).collect();
    let inner = Statement { keyword: keyword.word(), text: text.to_owned(), comments: Vec::new(), ..statement.clone() };
    let mut deferred = Faults::default();
    let kind = deferred
        .keep(Request::new(parts, request.heredocs, request.escape))
        .and_then(|request| parse_kind(&request, &inner, &mut deferred));
    let (now, mut later): (Vec<_>, Vec<_>) = deferred.into_sorted().into_iter().partition(|error| is_line_fault(&error.kind));
    faults.extend(now);
    let instruction = match later.is_empty() {
        true => Ok(Box::new(Instruction { kind: kind?, statement: inner })),
        false => Err(later.swap_remove(0)),
    };
    Some(InstructionKind::Onbuild(Onbuild { trigger, instruction }))
}

/// Faults that BuildKit's line parser finds, which runs over triggers too.
fn is_line_fault(kind: &SyntaxErrorKind) -> bool {
    use SyntaxErrorKind as Kind;
    matches!(kind, Kind::TwoArguments { .. } | Kind::NoEqualsSign { .. } | Kind::NotStringArray)
}
