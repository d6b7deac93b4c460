//! Evaluation that ends soon and never panics, whatever an expression says: the library's arithmetic panics where it overflows or
//! divides by zero, and values made of each other grow without bound.

use hcl::Expression;
use hcl::eval::{Context, Evaluate};
use hcl::expr::{BinaryOperator, ObjectKey, Operation, TraversalOperator};
use hcl::template::{Directive, Element, Template};

use super::definition::said;

/// Bytes of text, and items, that one value may have.
const LARGEST: usize = 64 << 10;

/// # Errors
/// Why it has no value here.
pub(super) fn evaluate(expression: &Expression, context: &Context) -> Result<hcl::Value, String> {
    check(expression)?;
    let value = expression.evaluate(context).map_err(|error| first_part(&error.to_string()).to_owned())?;
    if weight(&value) > LARGEST { Err("it is far larger than any name".to_owned()) } else { Ok(value) }
}

/// What an evaluation says first; the rest shows the expression again.
fn first_part(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.split(" in expression").next().unwrap_or(line)
}

/// The parser bounds how deep this goes.
fn check(expression: &Expression) -> Result<(), String> {
    match expression {
        Expression::Array(items) => items.iter().try_for_each(check),
        Expression::Object(entries) => entries.iter().try_for_each(|(key, value)| {
            if let ObjectKey::Expression(key) = key {
                check(key)?;
            }
            check(value)
        }),
        Expression::TemplateExpr(template) => match Template::from_expr(template) {
            Ok(template) => check_template(&template),
            Err(error) => Err(said(&error)),
        },
        Expression::Traversal(traversal) => {
            check(&traversal.expr)?;
            traversal.operators.iter().try_for_each(|operator| match operator {
                TraversalOperator::Index(index) => check(index),
                _ => Ok(()),
            })
        }
        Expression::FuncCall(call) => call.args.iter().try_for_each(check),
        Expression::Parenthesis(inner) => check(inner),
        Expression::Conditional(condition) => {
            [&condition.cond_expr, &condition.true_expr, &condition.false_expr].into_iter().try_for_each(check)
        }
        Expression::Operation(operation) => match &**operation {
            Operation::Unary(unary) => check(&unary.expr),
            Operation::Binary(binary) => match binary.operator {
                BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Mul | BinaryOperator::Div | BinaryOperator::Mod => {
                    Err("brik does no arithmetic".to_owned())
                }
                _ => [&binary.lhs_expr, &binary.rhs_expr].into_iter().try_for_each(check),
            },
        },
        Expression::ForExpr(_) => Err("brik runs no `for`".to_owned()),
        _ => Ok(()),
    }
}

fn check_template(template: &Template) -> Result<(), String> {
    template.elements().iter().try_for_each(|element| match element {
        Element::Literal(_) => Ok(()),
        Element::Interpolation(interpolation) => check(&interpolation.expr),
        Element::Directive(directive) => match &**directive {
            Directive::If(branches) => {
                check(&branches.cond_expr)?;
                check_template(&branches.true_template)?;
                branches.false_template.iter().try_for_each(check_template)
            }
            Directive::For(_) => Err("brik runs no `for`".to_owned()),
        },
    })
}

fn weight(value: &hcl::Value) -> usize {
    match value {
        hcl::Value::String(text) => text.len(),
        hcl::Value::Array(items) => items.iter().map(weight).sum::<usize>() + items.len(),
        hcl::Value::Object(entries) => entries.iter().map(|(key, value)| key.len() + weight(value)).sum::<usize>() + entries.len(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(expression: &str) -> Result<hcl::Value, String> {
        evaluate(&expression.parse().unwrap(), &Context::new())
    }

    #[test]
    fn what_would_panic_or_grow_is_refused() {
        for expression in [
            "1/0",
            "1e308*10",
            "5 % 0",
            "9223372036854775807 + 1",
            "\"a${1/0}\"",
            "[1/0]",
            "true ? 1/0 : 1",
            "{ (1/0) = 1 }",
            "!(1/0 == 1)",
        ] {
            assert_eq!(text(expression), Err("brik does no arithmetic".to_owned()), "{expression}");
        }
        for expression in ["[for a in [1]: a]", "\"%{ for a in [1] }x%{ endfor }\""] {
            assert_eq!(text(expression), Err("brik runs no `for`".to_owned()), "{expression}");
        }
        assert_eq!(text("true ? \"a${\"b\"}\" : \"c\"").unwrap(), hcl::Value::from("ab"));
        let mut context = Context::new();
        context.declare_var("a", "x".repeat(LARGEST / 2 + 1));
        assert!(evaluate(&"\"${a}\"".parse().unwrap(), &context).is_ok());
        assert!(evaluate(&"\"${a}${a}\"".parse().unwrap(), &context).unwrap_err().contains("far larger"));
    }
}
