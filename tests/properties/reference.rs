//! moby's patternmatcher, slow and obvious: by recursion over pattern and path, as its documentation tells it.

/// What a list of patterns says of `path`: rules in order, the last that matches wins, and what matched a parent matches what is
/// below. `None` if a pattern is refused.
pub fn excludes(patterns: &[String], path: &str) -> Option<bool> {
    let rules: Vec<(bool, Vec<char>)> = patterns
        .iter()
        .map(|pattern| pattern.strip_prefix('!').map_or((false, pattern.as_str()), |rest| (true, rest)))
        .map(|(exception, text)| (exception, text.chars().collect()))
        .collect();
    if rules.iter().any(|(_, pattern)| pattern.is_empty() || !is_valid(pattern)) {
        return None;
    }
    Some(judge(&rules, path).iter().zip(&rules).rfind(|(matched, _)| **matched).is_some_and(|(_, (exception, _))| !exception))
}

/// Which rules match `path` or a directory above it. A rule that would not change anything is not tried.
fn judge(rules: &[(bool, Vec<char>)], path: &str) -> Vec<bool> {
    let above = path.rsplit_once('/').map(|(parent, _)| judge(rules, parent));
    let text: Vec<char> = path.chars().collect();
    let mut excluded = false;
    let mut matched = Vec::new();
    for (number, (exception, pattern)) in rules.iter().enumerate() {
        let inherited = above.as_ref().is_some_and(|above| above[number]);
        let hit = inherited || (*exception == excluded && matches(pattern, &text));
        if hit {
            excluded = !exception;
        }
        matched.push(hit);
    }
    matched
}

/// Whether one clean pattern matches all of `path`.
pub fn matches(pattern: &[char], path: &[char]) -> bool {
    if let ['*', '*', suffix @ ..] = pattern
        && !suffix.is_empty()
        && suffix[0] != '/'
        && !suffix.iter().any(|char| "*?[]\\".contains(*char))
    {
        return path.ends_with(suffix);
    }
    anywhere(pattern, path)
}

fn anywhere(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*', rest @ ..] => {
            let rest = rest.strip_prefix(&['/']).unwrap_or(rest);
            // At the end it takes everything, elsewhere nothing or anything up to and including a slash.
            rest.is_empty() || anywhere(rest, path) || (0..path.len()).any(|at| path[at] == '/' && anywhere(rest, &path[at + 1..]))
        }
        ['*', rest @ ..] => {
            let longest = path.iter().take_while(|char| **char != '/').count();
            (0..=longest).any(|length| anywhere(rest, &path[length..]))
        }
        _ => match (one(pattern), path) {
            (Some((accepts, rest)), [first, below @ ..]) => accepts.contains(*first) && anywhere(rest, below),
            _ => false,
        },
    }
}

/// A set of characters.
struct Accepts {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Accepts {
    fn contains(&self, char: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&char)) != self.negated
    }
}

/// What the pattern's first element accepts, and the pattern after it. `None` if it is malformed.
fn one(pattern: &[char]) -> Option<(Accepts, &[char])> {
    let single = |char: char| Accepts { negated: false, ranges: vec![(char, char)] };
    match pattern {
        ['?', rest @ ..] => Some((Accepts { negated: true, ranges: vec![('/', '/')] }, rest)),
        ['\\', char, rest @ ..] => Some((single(*char), rest)),
        ['\\'] => None,
        ['[', rest @ ..] => class(rest),
        [char, rest @ ..] => Some((single(*char), rest)),
        [] => None,
    }
}

fn class(mut rest: &[char]) -> Option<(Accepts, &[char])> {
    let negated = rest.first() == Some(&'^');
    rest = &rest[usize::from(negated)..];
    let mut ranges = Vec::new();
    let character = |rest: &mut &[char]| -> Option<char> {
        let (char, after) = match *rest {
            ['\\', char, after @ ..] => (char, after),
            ['-' | ']' | '\\', ..] | [] => return None,
            [char, after @ ..] => (char, after),
        };
        *rest = after;
        Some(*char)
    };
    loop {
        if let ([']', after @ ..], false) = (rest, ranges.is_empty()) {
            return Some((Accepts { negated, ranges }, after));
        }
        let low = character(&mut rest)?;
        let mut high = low;
        if let ['-', after @ ..] = rest {
            rest = after;
            high = character(&mut rest)?;
        }
        if high < low {
            return None;
        }
        ranges.push((low, high));
    }
}

fn is_valid(mut pattern: &[char]) -> bool {
    while let [first, rest @ ..] = pattern {
        match (first, one(pattern)) {
            ('*', _) => pattern = rest,
            (_, Some((_, rest))) => pattern = rest,
            (_, None) => return false,
        }
    }
    true
}
