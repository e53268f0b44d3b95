//! Extensions that the mailbox server offers, as far as this proxy can hand them on.

use crate::{
    command::{Envelope, Parameter},
    limits::{GROWTH, GROWTH_BYTES},
    reply::Reply,
};

/// Extensions of the mailbox server. Not among them: CHUNKING, since a message is looked at as
/// lines, and STARTTLS, since both ways stay on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Offers {
    /// 8BITMIME (RFC 6152).
    is_8bit: bool,
    /// SMTPUTF8 (RFC 6531).
    is_utf8: bool,
    /// DSN (RFC 3461).
    is_dsn: bool,
    /// Whether senders may use DSN.
    takes_dsn: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    is_enhanced: bool,
    /// SIZE (RFC 1870), with the longest message; 0: no limit is known.
    size: Option<u64>,
}

impl Offers {
    /// Reads the reply to LHLO, whose first line is a greeting. `offers_dsn`: senders may use DSN even
    /// if the mailbox server does not know it.
    pub(crate) fn of(reply: &Reply, offers_dsn: bool) -> Offers {
        let mut offers = Offers::default();
        for line in reply.lines().iter().skip(1) {
            let line = String::from_utf8_lossy(line).to_ascii_uppercase();
            let (keyword, value) = line.split_once(' ').unwrap_or((&line, ""));
            match keyword {
                "8BITMIME" => offers.is_8bit = true,
                "SMTPUTF8" => offers.is_utf8 = true,
                "DSN" => offers.is_dsn = true,
                "ENHANCEDSTATUSCODES" => offers.is_enhanced = true,
                "SIZE" => offers.size = Some(value.trim().parse().unwrap_or(0)),
                _ => {}
            }
        }
        offers.takes_dsn = offers.is_dsn || offers_dsn;
        offers
    }

    /// Makes the reply to a sender's LHLO. The longest message is that which fits when encrypted.
    pub(crate) fn reply(&self, host: &str) -> Reply {
        let size = self.size.map(|size| match size {
            0 => "SIZE".to_owned(),
            size => format!("SIZE {}", shrunk(size)),
        });
        let word = |is_offered: bool, word: &str| is_offered.then(|| word.to_owned());
        let all = [
            Some(host.to_owned()),
            Some("PIPELINING".to_owned()),
            word(self.is_enhanced, "ENHANCEDSTATUSCODES"),
            word(self.is_8bit, "8BITMIME"),
            word(self.is_utf8, "SMTPUTF8"),
            word(self.takes_dsn, "DSN"),
            size,
        ];
        Reply::of_lines(250, all.into_iter().flatten().collect())
    }

    /// Checks the parameters of MAIL. The error is the reply.
    pub(crate) fn check_mail(&self, from: &Envelope) -> Result<(), Reply> {
        check(from, |Parameter { keyword, value }| match keyword.as_str() {
            "SIZE" => self.size.is_some() && value.parse::<u64>().is_ok(),
            "BODY" => {
                self.is_8bit
                    && ["7BIT", "8BITMIME"].iter().any(|one| value.eq_ignore_ascii_case(one))
            }
            "SMTPUTF8" => self.is_utf8,
            "RET" | "ENVID" => self.takes_dsn,
            _ => false,
        })
    }

    /// Checks the parameters of RCPT. The error is the reply. ORCPT is for this proxy, too.
    pub(crate) fn check_rcpt(&self, to: &Envelope) -> Result<(), Reply> {
        check(to, |one| one.keyword == "ORCPT" || one.keyword == "NOTIFY" && self.takes_dsn)
    }

    /// Returns the MAIL command for the mailbox server. An announced size grows with a message that
    /// will be encrypted.
    pub(crate) fn mail(&self, from: &Envelope, is_encrypted: bool) -> String {
        let mut line = format!("MAIL FROM:<{}>", from.path);
        let is_known =
            |one: &&Parameter| self.is_dsn || !matches!(one.keyword.as_str(), "RET" | "ENVID");
        for one in from.parameters.iter().filter(is_known) {
            let size = one.value.parse().ok().filter(|_| is_encrypted && one.keyword == "SIZE");
            line.push(' ');
            line.push_str(&size.map_or_else(|| one.text(), |size| format!("SIZE={}", grown(size))));
        }
        line
    }

    /// Returns the RCPT command for the mailbox server.
    pub(crate) fn rcpt(&self, to: &Envelope) -> String {
        let known = to.parameters.iter().filter(|_| self.is_dsn);
        let parameters: String = known.map(|one| format!(" {}", one.text())).collect();
        format!("RCPT TO:<{}>{parameters}", to.path)
    }
}

fn check(envelope: &Envelope, is_known: impl Fn(&Parameter) -> bool) -> Result<(), Reply> {
    match envelope.parameters.iter().find(|one| !is_known(one)) {
        Some(one) => Err(Reply::new(555, format!("5.5.4 {} is not possible here", one.keyword))),
        None => Ok(()),
    }
}

fn grown(size: u64) -> u64 {
    (size / GROWTH.1).saturating_mul(GROWTH.0).saturating_add(GROWTH_BYTES)
}

fn shrunk(size: u64) -> u64 {
    // At least 1: SIZE 0 would be no limit.
    (size.saturating_sub(GROWTH_BYTES) / GROWTH.0 * GROWTH.1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, parse};

    fn offers(lines: &[&str]) -> Offers {
        let lines = ["box"].iter().chain(lines).map(|one| (*one).to_owned()).collect();
        Offers::of(&Reply::of_lines(250, lines), false)
    }

    fn envelope(line: &str) -> Envelope {
        match parse(line.as_bytes()).unwrap() {
            Command::Mail(one) | Command::Rcpt(one) => one,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_understood_is_handed_on() {
        let all =
            offers(&["CHUNKING", "starttls", "8bitmime", "DSN", "SIZE 10000000", "XCLIENT A"]);
        let reply = String::from_utf8(all.reply("n1").bytes()).unwrap();
        let expected =
            "250-n1\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 SIZE 7096045\r\n";
        assert_eq!(reply, expected);
        assert!(grown(7_096_045) <= 10_000_000, "what is offered fits when encrypted");
        let none = String::from_utf8(offers(&[]).reply("n1").bytes()).unwrap();
        assert_eq!(none, "250-n1\r\n250 PIPELINING\r\n");
    }

    #[test]
    fn parameters_need_their_extension() {
        let (all, none) = (offers(&["8BITMIME", "DSN", "SMTPUTF8", "SIZE"]), offers(&[]));
        let mail = envelope("MAIL FROM:<a@b.example> SIZE=1000 BODY=8bitmime RET=HDRS SMTPUTF8");
        assert!(all.check_mail(&mail).is_ok() && none.check_mail(&mail).is_err());
        let sent = all.mail(&mail, false);
        assert_eq!(sent, "MAIL FROM:<a@b.example> SIZE=1000 BODY=8bitmime RET=HDRS SMTPUTF8");
        assert!(all.mail(&mail, true).contains("SIZE=66936 "));
        for wrong in ["BODY=BINARYMIME", "AUTH=<>", "SIZE=x"] {
            assert!(
                all.check_mail(&envelope(&format!("MAIL FROM:<> {wrong}"))).is_err(),
                "{wrong}"
            );
        }
        let rcpt = envelope("RCPT TO:<a@b.example> ORCPT=rfc822;c@d.example");
        assert!(all.check_rcpt(&rcpt).is_ok() && none.check_rcpt(&rcpt).is_ok());
        assert_eq!(none.rcpt(&rcpt), "RCPT TO:<a@b.example>");
        assert!(all.rcpt(&rcpt).ends_with("> ORCPT=rfc822;c@d.example"));
        let never = envelope("RCPT TO:<a@b.example> NOTIFY=NEVER");
        assert!(none.check_rcpt(&never).is_err());
        // Offered by the proxy itself: taken, and not handed on.
        let own = Offers::of(&Reply::new(250, "box"), true);
        let mail = envelope("MAIL FROM:<a@b.example> RET=HDRS ENVID=x");
        assert!(own.check_rcpt(&never).is_ok() && own.check_mail(&mail).is_ok());
        assert_eq!(own.rcpt(&never), "RCPT TO:<a@b.example>");
        assert_eq!(own.mail(&mail, true), "MAIL FROM:<a@b.example>");
        assert_eq!(own.reply("n1").bytes(), b"250-n1\r\n250-PIPELINING\r\n250 DSN\r\n");
    }
}
