//! The lines of the live view: a pure function of state, size and time.

use std::time::Duration;

use super::event::Transfer;
use super::label::Label;
use super::live::{Live, Row, Running};
use super::terminal::{Size, Style};
use super::text::{self, pad, shorten_middle, truncate, width};

/// One drawn line, without line feed.
#[derive(Clone, PartialEq)]
pub(super) struct Line {
    pub text: String,
    /// Columns that it takes on the terminal.
    pub width: usize,
}

/// What a line says, before it is laid out.
struct Content {
    glyph: &'static str,
    /// SGR parameters of the glyph.
    colour: &'static str,
    name: String,
    text: String,
    /// Said dimly where there is room.
    aside: Option<String>,
    time: String,
}

/// From how many columns on the last line of a Step's output is worth to be shown, if it is longer.
const ASIDE_FROM: usize = 27;
const BAR: &str = " │ ";

/// Nothing before there is a plan. A header, and one line a Service, a pull or an export that is under way: none as wide as the terminal and fewer than it has rows.
pub(super) fn frame(live: &Live, size: Size, style: Style, now: Duration) -> Vec<Line> {
    let contents = contents(live, style, now);
    if live.services.is_empty() && contents.is_empty() {
        return Vec::new();
    }
    // The last column stays free: some terminals wrap as soon as it is written.
    let columns = size.columns.saturating_sub(1);
    let header = truncate(&header(live, columns, style, now), columns, style.choose("…", ".."));
    let mut lines = vec![Line { width: width(&header), text: style.paint("1", &header) }];
    let room = size.rows.saturating_sub(2).max(1);
    let shown = if contents.len() > room { room.saturating_sub(1) } else { contents.len() };
    // Long names leave room for what is done.
    let names = live.name_width.min(columns / 4);
    lines.extend(contents[..shown].iter().map(|content| content.line(names, columns, style)));
    if shown < contents.len() {
        let text = truncate(&format!("  and {} more", contents.len() - shown), columns, "");
        lines.push(Line { width: width(&text), text });
    }
    lines
}

fn header(live: &Live, columns: usize, style: Style, now: Duration) -> String {
    let (down, up) = (style.choose("↓", "down"), style.choose("↑", "up"));
    let (services, steps) = (live.services.len(), live.steps);
    let (pulled, pushed) = (text::bytes(live.moved(Transfer::Pull)), text::bytes(live.moved(Transfer::Push)));
    let time = text::seconds(now.as_secs_f64());
    let done = live.services_done;
    let long = format!(
        "{done}/{services} services, {} cached + {} built of {steps} steps, {down} {pulled} {up} {pushed}, {time}",
        live.steps_cached, live.steps_built
    );
    let short = format!("{done}/{services} services, {}/{steps} steps, {time}", live.steps_cached + live.steps_built);
    if width(&long) <= columns { long } else { short }
}

fn contents(live: &Live, style: Style, now: Duration) -> Vec<Content> {
    let since = |since: Duration| text::seconds(now.saturating_sub(since).as_secs_f64());
    let rows = live.rows.iter().map(|row| match row.running.split_first() {
        Some((first, others)) => step(row, first, others.len(), style, since(first.since)),
        None => match live.transfers.groups().iter().find(|group| group.transfer == Transfer::Push && group.name == row.service) {
            Some(group) => Content {
                glyph: style.choose("↑", "^"),
                colour: "36",
                name: row.service.clone(),
                text: format!("upload {}", group.progress()),
                aside: None,
                time: since(group.since),
            },
            None => Content {
                glyph: " ",
                colour: "2",
                name: row.service.clone(),
                text: style.choose("…", "..").to_owned(),
                aside: None,
                time: String::new(),
            },
        },
    });
    let pulls = live.transfers.groups().iter().filter(|group| group.transfer == Transfer::Pull).map(|group| Content {
        glyph: style.choose("↓", "v"),
        colour: "36",
        name: "pull".to_owned(),
        text: format!("{}  {}", group.progress(), group.name),
        aside: None,
        time: since(group.since),
    });
    let exports = live.exports.iter().map(|(destination, begun)| Content {
        glyph: style.choose("→", ">"),
        colour: "36",
        name: "export".to_owned(),
        text: destination.clone(),
        aside: None,
        time: since(*begun),
    });
    rows.chain(pulls).chain(exports).collect()
}

fn step(row: &Row, first: &Running, others: usize, style: Style, time: String) -> Content {
    let Label { position, instruction, .. } = Label::of(&first.name);
    let text = [position, instruction].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ");
    Content {
        glyph: style.choose("▸", ">"),
        colour: "36",
        name: row.service.clone(),
        text,
        aside: first.output.last().map(|line| line.trim().to_owned()),
        time: if others == 0 { time } else { format!("+{others} {time}") },
    }
}

impl Content {
    fn line(&self, names: usize, columns: usize, style: Style) -> Line {
        let ellipsis = style.choose("…", "..");
        let name = pad(&shorten_middle(&self.name, names), names);
        let before = 2 + names + usize::from(names > 0);
        let Some(room) = columns.checked_sub(before + 1 + width(&self.time)).filter(|room| *room > 0) else {
            let text = truncate(&format!("{} {}", self.name, self.text), columns, "");
            return Line { width: width(&text), text };
        };
        // Of a long instruction, half is enough where there is something to tell how far it is.
        let wanted = self.aside.as_ref().map_or(0, |aside| width(aside) + width(BAR));
        let reserved = if room >= 2 * ASIDE_FROM { wanted.min(room / 2) } else { 0 };
        let text = truncate(&self.text, room - reserved, ellipsis);
        let left = room - width(&text);
        let aside = match &self.aside {
            Some(line) if left >= wanted.min(ASIDE_FROM) => truncate(&format!("{}{line}", style.choose(BAR, " | ")), left, ellipsis),
            _ => String::new(),
        };
        let filler = pad("", room.saturating_sub(width(&text) + width(&aside)) + 1);
        let space = if names > 0 { " " } else { "" };
        let glyph = style.paint(self.colour, self.glyph);
        let line = format!("{glyph} {name}{space}{text}{}{filler}{}", style.paint("2", &aside), style.paint("2", &self.time));
        Line { text: line, width: columns }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{Event, Outcome, Stream};
    use super::*;
    use crate::oci::Digest;

    const PLAIN: Style = Style { color: false, unicode: true };

    fn started(id: u64, name: &str) -> Event {
        Event::StepStarted { id, services: vec!["api".into()], name: name.into(), reason: None }
    }

    /// What has become of events that come a second apart.
    fn live(events: &[Event]) -> Live {
        let mut live = Live::default();
        for (second, event) in events.iter().enumerate() {
            live.update(event, Duration::from_secs(second as u64));
        }
        live
    }

    fn layer(service: &str, transfer: Transfer, bytes: u64) -> Event {
        Event::LayerProgress {
            service: service.into(),
            transfer,
            digest: Digest::of(service.as_bytes()),
            bytes,
            total: Some(20_000_000),
            mirror: None,
        }
    }

    fn planned(services: &[&str]) -> Event {
        Event::Planned { services: services.iter().map(|&service| service.to_owned()).collect(), steps: 31 }
    }

    fn scripted() -> Live {
        live(&[
            planned(&["api", "docs", "web", "worker"]),
            started(2, "[web 2/4] RUN go build ./..."),
            started(1, "[api build 3/7] RUN npm ci --no-audit --no-fund --prefer-offline --cache /var/cache/npm && npm run build"),
            started(3, "[web test 1/4] RUN go test"),
            Event::StepOutput { id: 2, stream: Stream::Stderr, bytes: "go: downloading golang.org/x/sys v0.30.0".into() },
            layer("docker.io/library/golang", Transfer::Pull, 1_000_000),
            layer("docker.io/library/golang", Transfer::Pull, 12_300_000),
            layer("docs", Transfer::Push, 512),
            Event::ExportStarted { destination: "oci:out".into() },
        ])
    }

    fn drawn(live: &Live, columns: usize, rows: usize, style: Style, now: f64) -> Vec<String> {
        let frame = frame(live, Size { columns, rows }, style, Duration::from_secs_f64(now));
        frame.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_frame_fits_80_columns() {
        assert_eq!(
            drawn(&scripted(), 80, 24, PLAIN, 72.3).join("\n"),
            "0/4 services, 0 cached + 0 built of 31 steps, ↓ 12.3 MB ↑ 512 B, 1m12s\n\
             ▸ api    build 3/7 RUN npm ci --no-audit --no-fund --prefer-offline --ca… 1m10s\n\
             ↑ docs   upload 512 B of 20.0 MB                                          1m05s\n\
             ▸ web    2/4 RUN go build ./... │ go: downloading golang.org/x/sys v0… +1 1m11s\n\
             ↓ pull   12.3 MB of 20.0 MB  docker.io/library/golang                     1m07s\n\
             → export oci:out                                                          1m04s"
        );
    }

    #[test]
    fn a_frame_of_40_columns_says_the_most_important() {
        assert_eq!(
            drawn(&scripted(), 40, 24, PLAIN, 72.3).join("\n"),
            "0/4 services, 0/31 steps, 1m12s\n\
             ▸ api    build 3/7 RUN npm ci --… 1m10s\n\
             ↑ docs   upload 512 B of 20.0 MB  1m05s\n\
             ▸ web    2/4 RUN go build ./.… +1 1m11s\n\
             ↓ pull   12.3 MB of 20.0 MB  doc… 1m07s\n\
             → export oci:out                  1m04s"
        );
    }

    #[test]
    fn a_frame_uses_200_columns() {
        let frame = drawn(&scripted(), 200, 24, PLAIN, 10.0);
        assert!(frame[1].contains("&& npm run build") && frame[1].ends_with(" 8.0s"), "{}", frame[1]);
        assert!(frame[3].contains("│ go: downloading golang.org/x/sys v0.30.0 ") && frame[3].ends_with(" +1 9.0s"), "{}", frame[3]);
        assert_eq!([width(&frame[1]), width(&frame[3])], [199, 199]);
    }

    #[test]
    fn a_long_instruction_leaves_half_of_its_line_to_the_output() {
        let mut live = live(&[started(1, &format!("[api 1/1] RUN {}", "x".repeat(200)))]);
        live.update(&Event::StepOutput { id: 1, stream: Stream::Stdout, bytes: "12% of all".into() }, Duration::ZERO);
        assert!(drawn(&live, 80, 24, PLAIN, 1.0)[1].ends_with("xxx… │ 12% of all 1.0s"));
        live.update(&Event::StepOutput { id: 1, stream: Stream::Stdout, bytes: "y".repeat(200).into() }, Duration::ZERO);
        let line = &drawn(&live, 80, 24, PLAIN, 1.0)[1];
        assert!(line.matches('x').count() > 20 && line.matches('y').count() > 20, "{line}");
    }

    #[test]
    fn without_unicode_a_frame_is_ascii() {
        let style = Style { color: false, unicode: false };
        assert!(drawn(&scripted(), 60, 24, style, 0.0).concat().is_ascii());
    }

    #[test]
    fn a_frame_never_exceeds_the_terminal_whatever_its_size() {
        let step = |id: u64| started(id, &format!("[服务-{id} {id}/40] RUN 日本語 and some more words"));
        let mut live = live(&(0..40).map(step).collect::<Vec<_>>());
        live.update(&layer("docker.io/library/golang", Transfer::Pull, 1), Duration::ZERO);
        for columns in 1..100 {
            for rows in [1, 2, 3, 10, 24] {
                let frame = frame(&live, Size { columns, rows }, PLAIN, Duration::from_secs(100));
                assert!(frame.len() <= rows.max(2), "{columns}x{rows}: {} lines", frame.len());
                for line in frame {
                    assert!(line.width < columns && line.width == width(&line.text), "{columns}x{rows}: {}", line.text);
                }
            }
        }
    }

    #[test]
    fn services_keep_their_order_whatever_begins_first_and_their_line_between_two_steps() {
        let mut live = live(&[planned(&["a", "b", "c"])]);
        let mut shows = |event: Option<Event>, second: f64| {
            let now = Duration::from_secs_f64(second);
            event.iter().for_each(|event| drop(live.update(event, now)));
            live.tidy(now);
            drawn(&live, 40, 24, PLAIN, second)[1..].iter().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
        };
        let ended = |id| Some(Event::StepFinished { id, outcome: Outcome::Built, seconds: 1.0 });
        shows(Some(started(1, "[c 1/2] RUN x")), 0.0);
        let both = shows(Some(started(2, "[a 1/2] RUN y")), 0.0);
        assert!(both.starts_with("▸ a 1/2 RUN y ") && both.contains("\n▸ c 1/2 RUN x "), "{both}");
        let waits = shows(ended(2), 1.0);
        assert!(waits.starts_with("  a …\n▸ c 1/2"), "{waits}");
        let goes_on = shows(Some(started(3, "[a 2/2] RUN z")), 1.5);
        assert!(goes_on.starts_with("▸ a 2/2 RUN z ") && goes_on.contains("\n▸ c 1/2"), "{goes_on}");
        shows(ended(3), 2.0);
        assert!(shows(None, 3.0).starts_with("▸ c 1/2"), "what is idle for a second goes");
    }

    #[test]
    fn colour_adds_only_escape_sequences() {
        let colored = drawn(&scripted(), 100, 24, Style { color: true, unicode: true }, 10.0).join("\n");
        let plain = drawn(&scripted(), 100, 24, PLAIN, 10.0).join("\n");
        assert_ne!(colored, plain);
        let stripped: Vec<String> = colored.lines().map(|line| super::super::sanitise::sanitise(line.as_bytes())).collect();
        assert_eq!(stripped.join("\n"), plain);
    }
}
