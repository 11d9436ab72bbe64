//! The socket that changes the table, and with it holds the table against others.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use margay_netlink::Wait;

use crate::{
    decode::Count,
    encode::{
        DELTABLE, FAMILY_INET, NEWTABLE, TABLE_F_OWNER, TABLE_F_PERSIST, TABLE_FLAGS, TABLE_NAME,
        batch::{Batch, Object, Terms},
    },
    expr::{Digest, Rule},
    name::Name,
    netlink::{dump, socket::Socket},
    plan::{Actual, Op},
    wire::{
        BATCH_BEGIN, BATCH_END, CREATE, ERROR, EXCL, Encoder, REQUEST, SUBSYSTEM, kind, verdict,
    },
};

/// The socket. While it is open nobody else can change the table, where the kernel can do that;
/// when it is closed the table stays as it is.
#[derive(Debug)]
pub struct Session {
    socket: Socket,
    table: Name,
    hold: bool,
    generation: Option<u32>,
    /// Of which the kernel refused an element; there may be more of that kind.
    doubted: BTreeSet<Name>,
}

/// Why a batch was not carried out. Of such a batch nothing was done, but for `Uncertain`.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Somebody else changed the ruleset since it was read: read it again and plan anew.
    #[error("the ruleset was changed by somebody else meanwhile")]
    Conflict,
    /// The kernel refused these, in the order of the batch. Those behind the first may be refused
    /// only because they need one before them.
    #[error("the kernel refused {}", told(.0))]
    Refused(Vec<Refused>),
    /// Answers were lost: the batch was carried out or not. Read the table.
    #[error("the kernel's answer was lost")]
    Uncertain,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An object that the kernel did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub object: Object,
    /// Its error number.
    pub errno: i32,
    /// The reason, if it gave one.
    pub text: Option<String>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = io::Error::from_raw_os_error(self.errno);
        match &self.text {
            Some(text) => write!(f, "{}: {text} ({plain})", self.object),
            None => write!(f, "{}: {plain}", self.object),
        }
    }
}

impl Session {
    /// Opens a session for the table of this name (of family `inet`) in the calling thread's
    /// network namespace. Changes nothing.
    ///
    /// # Errors
    /// When there is no socket to be had, or no right to look.
    pub fn open(table: Name) -> io::Result<Self> {
        let mut session = Self::open_free(table)?;
        session.hold = can_hold(&mut session.socket)?;
        Ok(session)
    }

    /// The same for a table that everybody may change, as all are on kernels before 6.9.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn open_free(table: Name) -> io::Result<Self> {
        let doubted = BTreeSet::new();
        Ok(Self { socket: Socket::open()?, table, hold: false, generation: None, doubted })
    }

    /// The number by which the kernel marks what this session caused.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Whether others are refused to touch the table, which the kernel can from 6.9 on.
    pub fn holds(&self) -> bool {
        self.hold
    }

    /// The table's name.
    pub fn table(&self) -> &Name {
        &self.table
    }

    /// Reads the table. What is applied next is void if anybody changes the ruleset in between.
    ///
    /// # Errors
    /// When the socket fails, or others change the ruleset without a pause.
    pub fn read(&mut self) -> io::Result<Actual> {
        let reading = dump::read(&mut self.socket, &self.table, self.hold)?;
        self.generation = Some(reading.generation);
        Ok(reading.actual)
    }

    /// The rules as the kernel has them, of chains with nothing but rules such as we make.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_rules(&mut self) -> io::Result<BTreeMap<Name, Vec<Rule>>> {
        Ok(dump::read(&mut self.socket, &self.table, self.hold)?.rules)
    }

    /// The rules of a chain in order: what stands for each, `None` for one that we never make, and what it
    /// counted if it counts.
    ///
    /// # Errors
    /// When the socket fails, or others change the ruleset without a pause.
    pub fn counts(&mut self, chain: &Name) -> io::Result<Vec<(Option<Digest>, Option<Count>)>> {
        dump::counts(&mut self.socket, &self.table, chain)
    }

    /// The generation that the next batch expects; `None` before the first reading.
    pub fn generation(&self) -> Option<u32> {
        self.generation
    }

    /// Somebody else made this generation without touching our table. False where generations
    /// before it are not known.
    pub fn accept(&mut self, generation: u32) -> bool {
        if self.includes(generation) {
            return true;
        }
        let next = self.generation.map(next_generation) == Some(generation);
        if next {
            self.generation = Some(generation);
        }
        next
    }

    /// Whether what is known of the table is as young as this generation.
    pub fn includes(&self, generation: u32) -> bool {
        // Numbers go round: what is less than half of them behind was before.
        self.generation.is_some_and(|known| known.wrapping_sub(generation) < 1 << 31)
    }

    /// Carries out all of it, or nothing. All that the kernel refuses is named, but of elements of one set
    /// the first few; of those that were refused an element of, all the next time.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn apply(&mut self, ops: &[Op]) -> Result<(), ApplyError> {
        if ops.is_empty() {
            return Ok(());
        }
        let (generation, first) = (self.generation, self.socket.numbers(0));
        let (table, apart) = (&self.table, &self.doubted);
        let terms = Terms { table, generation, hold: self.hold, first, apart };
        let batch = Batch::new(terms, ops);
        self.socket.numbers(batch.numbers());
        if let Err(err) = self.socket.send(batch.octets()) {
            // Refused before the kernel looked at it.
            return Err(ApplyError::Io(err));
        }
        let mut refused: Vec<Refused> = Vec::new();
        loop {
            let messages = match self.socket.receive(Wait::Poll) {
                Ok(messages) => messages,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(err) if err.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.generation = None;
                    return Err(ApplyError::Uncertain);
                }
                Err(err) => return Err(ApplyError::Io(err)),
            };
            for m in messages.filter(|m| m.kind == ERROR) {
                let Some(Err(answer)) = verdict(&m) else { continue };
                let object = batch.about(m.seq, &answer, ops);
                refused.push(Refused { object, errno: answer.errno, text: answer.text });
            }
        }
        if refused.is_empty() {
            for op in ops {
                if let Op::AddElements(set, ..) = op {
                    self.doubted.remove(set);
                }
            }
            // Ours is the next one.
            self.generation = self.generation.map(next_generation);
            return Ok(());
        }
        let void = |r: &Refused| r.object == Object::Batch && r.errno == libc::ERESTART;
        if refused.iter().any(void) {
            return Err(ApplyError::Conflict);
        }
        self.doubted.extend(refused.iter().filter_map(|one| one.object.set_of_element()).cloned());
        Err(ApplyError::Refused(refused))
    }
}

/// The kernel counts on, and leaves 0 out.
fn next_generation(id: u32) -> u32 {
    id.checked_add(1).unwrap_or(1)
}

/// Whether tables can be held and outlive their holder. Asked by a batch that is sure to be refused
/// for its second message, so that nothing happens and nobody hears of it.
fn can_hold(socket: &mut Socket) -> io::Result<bool> {
    let name = format!("margay-probe-{}", socket.port());
    let first = socket.numbers(4);
    let mut e = Encoder::default();
    let edge = |e: &mut Encoder, message, seq| {
        let at = e.begin(message, REQUEST, seq, 0, SUBSYSTEM);
        e.end(at);
    };
    edge(&mut e, BATCH_BEGIN, first);
    let at =
        e.begin(kind(NEWTABLE), REQUEST | CREATE | EXCL, first.wrapping_add(1), FAMILY_INET, 0);
    e.text(TABLE_NAME, &name);
    e.u32(TABLE_FLAGS, TABLE_F_OWNER | TABLE_F_PERSIST);
    e.end(at);
    let at = e.begin(kind(DELTABLE), REQUEST, first.wrapping_add(2), FAMILY_INET, 0);
    e.text(TABLE_NAME, &format!("{name}-none"));
    e.end(at);
    edge(&mut e, BATCH_END, first.wrapping_add(3));
    socket.send(e.octets())?;
    let mut asked = false;
    let mut can = true;
    loop {
        let messages = match socket.receive(Wait::Poll) {
            Ok(messages) => messages,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
            Err(err) => return Err(err),
        };
        for m in messages.filter(|m| m.kind == ERROR) {
            let Some(answer) = verdict(&m) else { continue };
            let errno = answer.err().map_or(0, |refusal| refusal.errno);
            match m.seq.wrapping_sub(first) {
                0 if errno != 0 => return Err(io::Error::from_raw_os_error(errno)),
                1 if errno == libc::EPERM => return Err(io::Error::from_raw_os_error(errno)),
                1 => can = false,
                2 => asked = true,
                _ => {}
            }
        }
    }
    if asked { Ok(can) } else { Err(io::Error::other("the kernel did not answer a question")) }
}

fn told(refused: &[Refused]) -> String {
    match refused {
        [] => "nothing".to_owned(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first}, and {} more", rest.len()),
    }
}
