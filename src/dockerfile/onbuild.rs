//! ONBUILD.

use super::ast::{Instruction, InstructionKind, Onbuild, Statement};
use super::instruction::parse_kind;
use super::request::{Parts, Request};
use super::settings::no_flags;
use super::{SyntaxError, SyntaxErrorKind};

pub(super) fn parse_onbuild(request: &Request<'_>, statement: &Statement) -> Result<InstructionKind, SyntaxError> {
    if request.arguments.is_empty() {
        return Err(request.error(SyntaxErrorKind::AtLeastOneArgument { instruction: request.name }));
    }
    no_flags(request)?;
    let parts = Parts::of(request.arguments);
    let keyword = parts.keyword;
    match keyword.text().to_uppercase().as_str() {
        "ONBUILD" => return Err(keyword.error(SyntaxErrorKind::OnbuildChain)),
        name @ ("MAINTAINER" | "FROM") => return Err(keyword.error(SyntaxErrorKind::OnbuildTrigger { instruction: name.to_owned() })),
        _ => {}
    }
    let text = request.arguments.text();
    let bodies = request.heredocs.iter().flat_map(|heredoc| ["\n", &heredoc.content, &heredoc.name]);
    // BuildKit keeps the white space at the end of the line.
    let trigger = std::iter::once(request.arguments.to_line_end()).chain(bodies).collect();
    let inner = Statement { keyword: keyword.word(), text: text.to_owned(), comments: Vec::new(), ..statement.clone() };
    let instruction = Request::new(parts, request.heredocs, request.escape)
        .and_then(|request| parse_kind(&request, &inner))
        .map(|kind| Box::new(Instruction { kind, statement: inner }));
    match instruction {
        Err(error) if is_line_fault(&error.kind) => Err(error),
        instruction => Ok(InstructionKind::Onbuild(Onbuild { trigger, instruction })),
    }
}

/// Faults that BuildKit's line parser finds, which runs over triggers too.
fn is_line_fault(kind: &SyntaxErrorKind) -> bool {
    use SyntaxErrorKind as Kind;
    matches!(kind, Kind::TwoArguments { .. } | Kind::NoEqualsSign { .. } | Kind::NotStringArray)
}
