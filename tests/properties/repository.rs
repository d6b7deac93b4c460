//! Addresses: of git repositories, of what ADD downloads, of remotes.

use brik::source::{
    GitRef, host_of, is_commit_id, is_http, mask_credentials, scheme_of, shown_source, split_credentials, url_file_name, web_url,
};

pub fn check(text: &str) {
    for known in [false, true] {
        let Some(Ok(parsed)) = GitRef::parse(text, known) else { continue };
        git_ref(&parsed);
        if let Ok(held) = parsed.clone().with_checksum("0123456789abcdef") {
            git_ref(&held);
        }
    }
    if known_url(text) {
        // Whoever is told to fetch it as a repository gets the same name.
        assert!(GitRef::parse(text, true).is_some());
    }
    let masked = mask_credentials(text);
    assert_eq!(masked.len(), text.len(), "no byte moves: {masked}");
    assert_eq!(mask_credentials(&masked), masked, "masked once is masked");
    hides_password(text, &masked);
    hides_password(text, &shown_source(text));
    assert!(text.contains(host_of(text)));
    assert!(scheme_of(text).is_none_or(|scheme| text.starts_with(scheme)));
    let name = url_file_name(text);
    assert!(!matches!(name.as_str(), "" | "." | "..") && !name.contains('/'), "{name:?}");
    if let Some(page) = web_url(text) {
        assert!(page.starts_with("http") && !page.contains('@') && !page.contains(char::is_control), "{page}");
        hides_password(text, &page);
    }
    let (bare, login) = split_credentials(text);
    assert!(login.is_some() || bare == text);
    assert!(login.is_none() || bare.len() < text.len());
}

fn known_url(text: &str) -> bool {
    is_http(text) && text.splitn(4, '/').count() == 4
}

fn git_ref(parsed: &GitRef) {
    assert!(!parsed.remote.contains(['#', '?']));
    hides_password(&parsed.remote, &parsed.shown());
    assert!(parsed.commit().is_none_or(is_commit_id));
    let inside =
        |path: &String| !path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| matches!(part, "" | "." | ".."));
    assert!(parsed.subdir.as_ref().is_none_or(inside), "{parsed:?}");
    // What is given to git as an argument is no option of it.
    assert!(parsed.reference.as_ref().is_none_or(|name| !name.is_empty() && !name.starts_with('-')), "{parsed:?}");
    assert!(!parsed.remote.starts_with('-'), "{parsed:?}");
}

/// A password with a letter that is nowhere else in `text` does not stand in what is shown of it.
fn hides_password(text: &str, shown: &str) {
    let Some((scheme, rest)) = text.split_once("://") else { return };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let password = user.split_once(':').map_or("", |(_, password)| password);
    let own = |letter: char| text.matches(letter).count() == password.matches(letter).count();
    let sole = password.len() >= 6 && !password.contains('*') && password.contains(own) && !user.contains(char::is_whitespace);
    if sole && scheme_of(text) == Some(scheme) {
        assert!(!shown.contains(password), "{shown}");
    }
}
