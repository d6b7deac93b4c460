//! What brik says about itself: help, topics, completions, man pages.

use std::fs;

use crate::support::{Project, tools};

#[test]
fn help_lists_commands_and_topics_and_tells_about_each() {
    let project = Project::empty();
    let help = |words: &[&str]| project.brik(["help"]).args(words).succeeds().stdout;
    let all = help(&[]);
    for part in ["\n  build ", "\n  cache ", "Topics, for brik help TOPIC:\n", "\n  sandbox ", "Exit codes: 0 ok"] {
        assert!(all.contains(part), "{part:?} is not in\n{all}");
    }
    assert_eq!(all, project.brik(["--help"]).succeeds().stdout);
    assert_eq!(help(&["build"]), project.brik(["build", "--help"]).succeeds().stdout);
    assert_eq!(help(&["cache", "ls"]), project.brik(["cache", "ls", "--help"]).succeeds().stdout);
    assert!(help(&["sandbox"]).contains("newuidmap"));
    let both = help(&["cache"]);
    assert!(both.contains("Cache repositories, <image>-cache") && both.contains("Usage: brik cache"), "{both}");
}

#[test]
fn what_there_is_no_help_about_is_told_with_the_nearest() {
    let project = Project::empty();
    project.brik(["help", "sandbx"]).exits(2).says(&["no command and no topic \"sandbx\"", "sandbox"]);
    project.brik(["help", "build", "nothing"]).exits(2).says(&["\"build nothing\""]);
    project.brik(["help", "zzzzzzzz"]).exits(2).says(&["`brik help` lists commands and topics"]);
}

#[test]
fn every_shell_has_completions_and_bash_takes_its_own() {
    let project = Project::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = project.brik(["completions", shell]).succeeds().stdout;
        assert!(script.contains("outdated") && script.contains("keep-storage"), "{shell}");
    }
    project.brik(["completions", "csh"]).exits(2).says(&["bash, elvish, fish, powershell, zsh"]);
    if tools::installed(&["bash"]) {
        let script = project.beside("completions.bash");
        fs::write(&script, project.brik(["completions", "bash"]).succeeds().stdout).unwrap();
        let asks = format!(
            "source {}; COMP_WORDS=(brik cache pr); COMP_CWORD=2; $(complete -p brik | sed 's/.*-F \\([^ ]*\\).*/\\1/') brik pr cache; echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        assert_eq!(tools::output("bash", &["-c", &asks]), "prune\n");
    }
}

#[test]
fn man_pages_are_written_for_commands_and_topics() {
    let project = Project::empty();
    project.brik(["man", "pages"]).succeeds().says(&["pages in"]);
    for page in ["man1/brik.1", "man1/brik-build.1", "man1/brik-cache-prune.1", "man7/brik-brik.toml.7", "man7/brik-tags.7"] {
        let text = fs::read_to_string(project.path("pages").join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}: {text}");
    }
    let examples = fs::read_to_string(project.path("pages/man1/brik-why.1")).unwrap();
    assert!(examples.contains("Examples:"), "{examples}");
    project.write("occupied", "");
    project.brik(["man", "occupied"]).exits(1).says(&["cannot write man pages into", "occupied"]);
}
