//! A network namespace of Linux, joined to the machine by a pair of virtual interfaces. What runs in it can be cut off.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// A network namespace. It goes away when it is dropped.
#[derive(Debug)]
pub(crate) struct Apart {
    name: String,
    /// The end of the pair that the machine has.
    interface: String,
    /// The address of the machine in the network of the pair.
    pub(crate) outside: Ipv4Addr,
    /// The address of the namespace in it.
    pub(crate) inside: Ipv4Addr,
}

impl Apart {
    /// Makes a namespace. `port` is one that this process was given, so the names and addresses are its own. Returns `None`, and says so, if the
    /// machine does not permit it.
    pub(crate) fn make(port: u16) -> Option<Self> {
        // Four addresses of 198.18.0.0/15, which is for tests, for each port that can be given.
        let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + 4 * u32::from(port);
        let apart = Self {
            name: format!("gesta-{port}"),
            interface: format!("gesta{port}"),
            outside: Ipv4Addr::from(network + 1),
            inside: Ipv4Addr::from(network + 2),
        };
        let Self { name, interface, outside, inside } = &apart;
        let peer = format!("{interface}n");
        let made = [
            format!("netns add {name}"),
            format!("link add {interface} type veth peer name {peer} netns {name}"),
            format!("addr add {outside}/30 dev {interface}"),
            format!("link set {interface} up"),
            format!("-n {name} addr add {inside}/30 dev {peer}"),
            format!("-n {name} link set {peer} up"),
            format!("-n {name} link set lo up"),
        ];
        match made.iter().find_map(|arguments| ip(arguments).err().map(|error| (arguments, error))) {
            None => Some(apart),
            Some((arguments, error)) => {
                println!(
                    "skipped: `ip {arguments}` fails ({error}); it needs root on Linux, and the package iproute2"
                );
                None
            }
        }
    }

    /// The command that runs a program in it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Cuts it off: what is sent to it or from it is lost, and nobody is told.
    pub(crate) fn cut_off(&self) {
        // Without its own end, the machine would know at once that there is no way to the address.
        self.set("down");
    }

    /// Joins it again.
    pub(crate) fn join(&self) {
        self.set("up");
    }

    fn set(&self, state: &str) {
        let Self { name, interface, .. } = self;
        let set = ip(&format!("-n {name} link set {interface}n {state}"));
        set.unwrap_or_else(|error| panic!("the interface of `{name}` is not set {state}: {error}"));
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // The pair goes with it.
        let _ = ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
