//! Dates in the formats of moment.js, in English.

use jiff::Zoned;
use jiff::civil::Weekday;

/// Longest first where one begins with another.
const TOKENS: [&str; 62] = [
    "LTS", "LT", "LLLL", "LLL", "LL", "L", "llll", "lll", "ll", "l", "YYYYYY", "YYYY", "YY", "Y", "GGGGG", "GGGG", "GG", "ggggg", "gggg",
    "gg", "Qo", "Q", "MMMM", "MMM", "MM", "Mo", "M", "DDDD", "DDDo", "DDD", "DD", "Do", "D", "dddd", "ddd", "dd", "do", "d", "e", "E",
    "WW", "Wo", "W", "ww", "wo", "w", "HH", "H", "hh", "h", "kk", "k", "mm", "m", "ss", "s", "X", "x", "ZZ", "Z", "zz", "z",
];

/// `format` with every token in the place of which `time` has something; what is no token, or stands in brackets, stays.
pub(super) fn format(time: &Zoned, format: &str) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        if c == '['
            && let Some(end) = rest.find(']')
        {
            out += &rest[1..end];
            rest = &rest[end + 1..];
        } else if let Some(token) = TOKENS.into_iter().find(|token| rest.starts_with(token)) {
            out += &value(time, token);
            rest = &rest[token.len()..];
        } else if c == 'S' {
            let digits = rest.bytes().take_while(|b| *b == b'S').count().min(9);
            out += &format!("{:09}", time.subsec_nanosecond())[..digits];
            rest = &rest[digits..];
        } else if c == 'A' || c == 'a' {
            let half = if time.hour() < 12 { "AM" } else { "PM" };
            out += &if c == 'a' { half.to_lowercase() } else { half.to_owned() };
            rest = &rest[1..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

fn value(time: &Zoned, token: &str) -> String {
    let date = time.date();
    let (year, month, day) = (date.year(), date.month(), date.day());
    let (day_of_year, weekday) = (date.day_of_year(), date.weekday());
    let sunday_first = weekday.to_sunday_zero_offset();
    let twelve = (time.hour() + 11) % 12 + 1;
    let twenty_four = if time.hour() == 0 { 24 } else { time.hour() };
    let iso = date.iso_week_date();
    let quarter = (month + 2) / 3;
    let nested = |text: &str| format(time, text);
    match token {
        "LTS" => nested("h:mm:ss A"),
        "LT" => nested("h:mm A"),
        "LLLL" => nested("dddd, MMMM D, YYYY h:mm A"),
        "LLL" => nested("MMMM D, YYYY h:mm A"),
        "LL" => nested("MMMM D, YYYY"),
        "L" => nested("MM/DD/YYYY"),
        "llll" => nested("ddd, MMM D, YYYY h:mm A"),
        "lll" => nested("MMM D, YYYY h:mm A"),
        "ll" => nested("MMM D, YYYY"),
        "l" => nested("M/D/YYYY"),
        "YYYYYY" => format!("+{year:06}"),
        "YYYY" => format!("{year:04}"),
        "YY" => format!("{:02}", year.rem_euclid(100)),
        "Y" => year.to_string(),
        "GGGGG" => format!("{:05}", iso.year()),
        "GGGG" => format!("{:04}", iso.year()),
        "GG" => format!("{:02}", iso.year().rem_euclid(100)),
        "ggggg" => format!("{:05}", us_week(time).0),
        "gggg" => format!("{:04}", us_week(time).0),
        "gg" => format!("{:02}", us_week(time).0.rem_euclid(100)),
        "Qo" => ordinal(quarter.into()),
        "Q" => quarter.to_string(),
        "MMMM" => time.strftime("%B").to_string(),
        "MMM" => time.strftime("%b").to_string(),
        "MM" => format!("{month:02}"),
        "Mo" => ordinal(month.into()),
        "M" => month.to_string(),
        "DDDD" => format!("{day_of_year:03}"),
        "DDDo" => ordinal(day_of_year),
        "DDD" => day_of_year.to_string(),
        "DD" => format!("{day:02}"),
        "Do" => ordinal(day.into()),
        "D" => day.to_string(),
        "dddd" => time.strftime("%A").to_string(),
        "ddd" => time.strftime("%a").to_string(),
        "dd" => time.strftime("%a").to_string()[..2].to_owned(),
        "do" => ordinal(sunday_first.into()),
        "d" | "e" => sunday_first.to_string(),
        "E" => weekday.to_monday_one_offset().to_string(),
        "WW" => format!("{:02}", iso.week()),
        "Wo" => ordinal(iso.week().into()),
        "W" => iso.week().to_string(),
        "ww" => format!("{:02}", us_week(time).1),
        "wo" => ordinal(us_week(time).1),
        "w" => us_week(time).1.to_string(),
        "HH" => format!("{:02}", time.hour()),
        "H" => time.hour().to_string(),
        "hh" => format!("{twelve:02}"),
        "h" => twelve.to_string(),
        "kk" => format!("{twenty_four:02}"),
        "k" => twenty_four.to_string(),
        "mm" => format!("{:02}", time.minute()),
        "m" => time.minute().to_string(),
        "ss" => format!("{:02}", time.second()),
        "s" => time.second().to_string(),
        "X" => time.timestamp().as_second().to_string(),
        "x" => time.timestamp().as_millisecond().to_string(),
        "zz" | "z" => time.strftime("%Z").to_string(),
        "ZZ" => time.strftime("%z").to_string(),
        _ => time.strftime("%:z").to_string(),
    }
}

fn ordinal(number: i16) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// Year and number of a week that begins on Sunday; the first is the one with January 1st.
fn us_week(time: &Zoned) -> (i16, i16) {
    let date = time.date();
    let first_weekday = |year: i16| jiff::civil::Date::new(year, 1, 1).map_or(Weekday::Sunday, |first| first.weekday());
    let offset = |year: i16| i16::from(first_weekday(year).to_sunday_zero_offset());
    let until_saturday = 6 - i16::from(date.weekday().to_sunday_zero_offset());
    let left = date.days_in_year() - date.day_of_year();
    if left < until_saturday {
        return (date.year().saturating_add(1), 1);
    }
    (date.year(), (date.day_of_year() - 1 + offset(date.year())) / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_render_as_moment_renders_them() {
        for (at, zone, pattern, expected) in [
            ("2020-01-10T00:30:00Z", "UTC", "YYYYMMDD", "20200110"),
            ("2020-01-10T00:30:00Z", "Asia/Tokyo", "YYYYMMDD-HHmmss", "20200110-093000"),
            ("2020-01-10T15:25:50Z", "UTC", "dddd, MMMM Do YYYY, h:mm:ss a", "Friday, January 10th 2020, 3:25:50 pm"),
            ("2020-01-10T00:30:00.123Z", "UTC", "YYYY-MM-DDTHH:mm:ss.SSS[Z]", "2020-01-10T00:30:00.123Z"),
            ("2020-01-10T00:30:00Z", "UTC", "X x", "1578616200 1578616200000"),
            ("2021-01-02T00:00:00Z", "UTC", "GGGG-[W]WW gggg-ww Q DDDD", "2020-W53 2021-01 1 002"),
            ("2020-12-27T23:05:09Z", "UTC", "w W d E e k H h A", "1 52 0 7 0 23 23 11 PM"),
            ("2020-12-26T00:00:00Z", "UTC", "w hh kk", "52 12 24"),
            ("2020-07-03T00:00:00Z", "Europe/Berlin", "Z ZZ L LT", "+02:00 +0200 07/03/2020 2:00 AM"),
            ("2020-07-03T00:00:00Z", "UTC", "é [YYYY] YY", "é YYYY 20"),
        ] {
            let time = at.parse::<jiff::Timestamp>().unwrap().to_zoned(jiff::tz::TimeZone::get(zone).unwrap());
            assert_eq!(format(&time, pattern), expected, "{pattern}");
        }
    }
}
