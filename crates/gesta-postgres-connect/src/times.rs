//! The times of a connection that an address sets, in the units of libpq.

use std::time::Duration;

use tokio_postgres::Config;

use crate::limits::{CONNECT_TIME, KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, UNACKNOWLEDGED_TIME};

/// The times of a connection. A field is `None` if the address leaves it open. Zero means the default of the system, except for
/// `connect`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// For each host.
    connect: Option<Duration>,
    unacknowledged: Option<Duration>,
    no_keepalives: bool,
    idle: Option<Duration>,
    interval: Option<Duration>,
    count: Option<u32>,
}

impl Times {
    /// Takes a parameter; returns false for one of another matter.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let number = || {
            let number = value.trim().parse::<u32>();
            number.map_err(|_| format!("`{name}` is a whole number, not negative"))
        };
        let seconds = || number().map(|number| Duration::from_secs(number.into()));
        match name {
            // Zero would be without a limit. No wait of Gesta is.
            "connect_timeout" => self.connect = Some(seconds()?).filter(|time| !time.is_zero()),
            "tcp_user_timeout" => self.unacknowledged = Some(Duration::from_millis(number()?.into())),
            "keepalives" => self.no_keepalives = number()? == 0,
            "keepalives_idle" => self.idle = Some(seconds()?),
            "keepalives_interval" => self.interval = Some(seconds()?),
            "keepalives_count" => self.count = Some(number()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Leaves it to the system when a connection ends whose bytes are not acknowledged, unless the address sets a time.
    pub(crate) fn be_patient(&mut self) {
        self.unacknowledged.get_or_insert(Duration::ZERO);
    }

    /// Sets what sockets take.
    pub(crate) fn apply(&self, config: &mut Config) {
        let time = |given: Option<Duration>, ours| Some(given.unwrap_or(ours)).filter(|time| !time.is_zero());
        config.keepalives(!self.no_keepalives);
        if let Some(time) = time(self.unacknowledged, UNACKNOWLEDGED_TIME) {
            config.tcp_user_timeout(time);
        }
        if let Some(time) = time(self.idle, KEEPALIVE_IDLE) {
            config.keepalives_idle(time);
        }
        if let Some(time) = time(self.interval, KEEPALIVE_INTERVAL) {
            config.keepalives_interval(time);
        }
        if let Some(count) = Some(self.count.unwrap_or(KEEPALIVE_COUNT)).filter(|count| *count > 0) {
            config.keepalives_retries(count);
        }
    }

    /// The time in which a connection to any of the hosts must be ready.
    pub(crate) fn connect_in_all(&self, hosts: usize) -> Duration {
        let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
        self.connect.map_or(CONNECT_TIME, |each| each.saturating_mul(hosts))
    }

    /// The time for the next one of `hosts` hosts, if `left` is the time for all of them.
    pub(crate) fn connect_to_one(&self, left: Duration, hosts: u32) -> Duration {
        self.connect.unwrap_or(left / hosts.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(parameters: &[(&str, &str)]) -> Config {
        let (mut times, mut config) = (Times::default(), Config::new());
        parameters.iter().for_each(|(name, value)| assert!(times.take(name, value).unwrap()));
        times.apply(&mut config);
        config
    }

    #[test]
    fn times_have_the_units_of_libpq_and_zero_means_the_default_of_the_system() {
        let ours = config(&[]);
        assert_eq!(ours.get_tcp_user_timeout(), Some(&UNACKNOWLEDGED_TIME));
        assert_eq!(ours.get_keepalives_idle(), KEEPALIVE_IDLE);
        assert_eq!(ours.get_keepalives_interval(), Some(KEEPALIVE_INTERVAL));
        assert_eq!(ours.get_keepalives_retries(), Some(KEEPALIVE_COUNT));
        assert!(ours.get_keepalives());

        let given = config(&[
            ("tcp_user_timeout", "2500"),
            ("keepalives_idle", "7200"),
            ("keepalives_interval", "7"),
            ("keepalives_count", "9"),
            ("keepalives", "0"),
        ]);
        assert_eq!(given.get_tcp_user_timeout(), Some(&Duration::from_millis(2_500)));
        assert_eq!(given.get_keepalives_idle(), Duration::from_secs(7_200));
        assert_eq!(given.get_keepalives_interval(), Some(Duration::from_secs(7)));
        assert_eq!(given.get_keepalives_retries(), Some(9));
        assert!(!given.get_keepalives());

        let zeros = ["tcp_user_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count"];
        let systems = config(&zeros.map(|name| (name, "0")));
        assert_eq!(systems.get_tcp_user_timeout(), None);
        // The default of Linux, which the client library has too.
        assert_eq!(systems.get_keepalives_idle(), Duration::from_secs(2 * 60 * 60));
        assert_eq!((systems.get_keepalives_interval(), systems.get_keepalives_retries()), (None, None));
    }

    #[test]
    fn the_time_to_connect_is_shared_by_hosts_unless_each_has_its_time() {
        let mut times = Times::default();
        assert_eq!(times.connect_in_all(2), CONNECT_TIME);
        assert_eq!(times.connect_to_one(Duration::from_secs(4), 2), Duration::from_secs(2));
        times.take("connect_timeout", "3").unwrap();
        assert_eq!(times.connect_in_all(2), Duration::from_secs(6));
        assert_eq!(times.connect_to_one(Duration::from_secs(4), 2), Duration::from_secs(3));
        times.take("connect_timeout", "0").unwrap();
        assert_eq!(times.connect_in_all(2), CONNECT_TIME);
    }

    #[test]
    fn patience_gives_way_to_the_address() {
        let mut times = Times::default();
        times.be_patient();
        assert_eq!(times.unacknowledged, Some(Duration::ZERO));
        times.take("tcp_user_timeout", "60000").unwrap();
        times.be_patient();
        assert_eq!(times.unacknowledged, Some(Duration::from_secs(60)));
    }
}
