//! What several commands have in common, a page each.

pub struct Topic {
    pub name: &'static str,
    pub about: &'static str,
    pub text: &'static str,
}

pub const TOPICS: [Topic; 6] = [
    Topic { name: "brik.toml", about: "which images a repository has", text: include_str!("topics/brik.toml.txt") },
    Topic { name: "tags", about: "templates of tags, and what is known of a commit", text: include_str!("topics/tags.txt") },
    Topic { name: "cache", about: "what is remembered, where, and for whom", text: include_str!("topics/cache.txt") },
    Topic { name: "sandbox", about: "how a RUN runs without a daemon, and what it may do", text: include_str!("topics/sandbox.txt") },
    Topic { name: "exit-codes", about: "what a script can tell by", text: include_str!("topics/exit-codes.txt") },
    Topic { name: "environment", about: "variables that brik listens to", text: include_str!("topics/environment.txt") },
];

impl Topic {
    pub fn named(name: &str) -> Option<&'static Self> {
        TOPICS.iter().find(|topic| topic.name == name)
    }
}
