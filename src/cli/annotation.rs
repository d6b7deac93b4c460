//! What GitHub Actions shows beside a line of a file.

use std::path::{Path, PathBuf};

use crate::config::{Finding, Location};
use crate::report::command;

/// `::error file=…,line=…::message` of a finding, with its line feed.
pub fn error(finding: &Finding) -> String {
    let checkout = std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from);
    let cwd = std::env::current_dir().ok();
    at(finding, checkout.zip(cwd).as_ref().map(|(checkout, cwd)| (checkout.as_path(), cwd.as_path())))
}

/// Files are named from the checkout on, wherever brik runs in it.
fn at(finding: &Finding, place: Option<(&Path, &Path)>) -> String {
    let message = match &finding.help {
        Some(help) => format!("{}\nhelp: {help}", finding.message),
        None => finding.message.clone(),
    };
    let title = ("title", Some(finding.code));
    let Some(Location { source, span }) = &finding.location else { return command("error", &[title], &message) };
    let below = place.and_then(|(checkout, cwd)| cwd.strip_prefix(checkout).ok()).unwrap_or(Path::new(""));
    let file = below.join(&*source.name).display().to_string();
    let (first, last) = (source.position(span.start), source.position(span.end));
    let numbers = [first.0, last.0, first.1, last.1].map(|number| number.to_string());
    let [line, end_line, column, end_column] = numbers.each_ref().map(|number| Some(number.as_str()));
    let mut properties = vec![("file", Some(file.as_str())), ("line", line), ("endLine", end_line)];
    // Columns count where the error is within a line.
    if first.0 == last.0 {
        properties.extend([("col", column), ("endColumn", end_column)]);
    }
    properties.push(title);
    command("error", &properties, &message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    #[test]
    fn an_error_stands_beside_its_line_of_the_checkout() {
        let source = Source::new("api/Dockerfile", "FROM a\nRUN x\nRUN y\n");
        let finding = |span| Finding::error("brik::build::failed", "exit code 1").help("fix it").at(source.at(span));
        let place = Some((Path::new("/checkout"), Path::new("/checkout/images")));
        let shown = at(&finding(7..12), place);
        let rest = "line=2,endLine=2,col=1,endColumn=6,title=brik%3A%3Abuild%3A%3Afailed::exit code 1%0Ahelp: fix it\n";
        assert_eq!(shown, format!("::error file=images/api/Dockerfile,{rest}"));
        assert_eq!(at(&finding(7..12), None), format!("::error file=api/Dockerfile,{rest}"));
        assert!(at(&finding(7..18), place).contains("line=2,endLine=3,title="));
        assert_eq!(at(&Finding::error("brik::x", "m"), place), "::error title=brik%3A%3Ax::m\n");
    }
}
