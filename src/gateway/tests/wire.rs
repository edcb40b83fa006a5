//! A client that does only what it is told: for packets that no honest client sends.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, StreamingDecryptingKey, StreamingEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::SystemRandom;
use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::PrivateKey;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::Signature;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::testing::TestGateway;

impl TestGateway {
    /// Whose private key, for a client that is not `ssh`.
    pub(super) fn key(&self, name: &str) -> PrivateKey {
        PrivateKey::from_openssh(std::fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }
}

/// One connection.
pub(super) struct Raw {
    pub(super) tcp: TcpStream,
    client_id: Vec<u8>,
    server_id: Vec<u8>,
    strict: bool,
    session_id: Option<Vec<u8>>,
    logging_in: bool,
    /// The server's last KEXINIT.
    pub(super) server_kexinit: Vec<u8>,
    out: Option<(StreamingEncryptingKey, Vec<u8>)>,
    incoming: Option<(StreamingDecryptingKey, Vec<u8>)>,
    sent: u32,
    received: u32,
    /// By our numbers: what may still be sent.
    windows: HashMap<u32, u64>,
    /// Our number of each of the server's channels.
    ours: HashMap<u32, u32>,
    /// What came while something else was waited for.
    early: VecDeque<Vec<u8>>,
}

const CLIENT_ID: &[u8] = b"SSH-2.0-raw";

impl Raw {
    /// Connected, and both identifications exchanged.
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::silent(address).await.identified().await
    }

    async fn identified(mut self) -> Self {
        self.identify(CLIENT_ID).await;
        self
    }

    /// Says what it is, and hears what the server is.
    pub(super) async fn identify(&mut self, client_id: &[u8]) {
        self.client_id = client_id.to_owned();
        self.tcp.write_all(&[client_id, b"\r\n"].concat()).await.unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.tcp.read_u8().await.unwrap());
        }
        line.truncate(line.len() - 2);
        self.server_id = line;
    }

    /// Connected, and nothing said.
    pub(super) async fn silent(address: SocketAddr) -> Self {
        Self::silent_from(Ipv4Addr::LOCALHOST, address).await
    }

    /// The same from another of loopback's addresses.
    pub(super) async fn silent_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let tcp = socket.connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Self {
            tcp,
            client_id: Vec::new(),
            server_id: Vec::new(),
            strict: false,
            logging_in: false,
            session_id: None,
            server_kexinit: Vec::new(),
            out: None,
            incoming: None,
            sent: 0,
            received: 0,
            windows: HashMap::new(),
            ours: HashMap::new(),
            early: VecDeque::new(),
        }
    }

    /// Connected and past the key exchange.
    pub(super) async fn encrypted(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address).await;
        raw.exchange().await;
        raw
    }

    /// The same from another of loopback's addresses.
    pub(super) async fn encrypted_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let mut raw = Self::silent_from(source, address).await.identified().await;
        raw.exchange().await;
        raw
    }

    /// Connected and logged in as that.
    pub(super) async fn logged_in(address: SocketAddr, login: &str, key: &PrivateKey) -> Self {
        let mut raw = Self::encrypted(address).await;
        raw.log_in(login, key).await;
        raw
    }

    /// A whole key exchange, the first one or another.
    pub(super) async fn exchange(&mut self) {
        let ours = self.send_kexinit(&Offer::default()).await;
        self.finish_exchange(&ours, |_| ()).await;
    }

    /// Our KEXINIT.
    pub(super) async fn send_kexinit(&mut self, offer: &Offer) -> Vec<u8> {
        let kexinit = offer.packet();
        self.send(&kexinit).await;
        kexinit
    }

    /// All that follows both KEXINITs; what comes in between goes to `other`.
    pub(super) async fn finish_exchange(&mut self, ours: &[u8], mut other: impl FnMut(Vec<u8>)) {
        while self.server_kexinit.is_empty() {
            match self.receive().await {
                packet if packet[0] == 20 => self.server_kexinit = packet,
                packet => other(packet),
            }
        }
        let theirs = std::mem::take(&mut self.server_kexinit);
        let random = SystemRandom::new();
        let private = EphemeralPrivateKey::generate(&X25519, &random).unwrap();
        let public = private.compute_public_key().unwrap();
        self.send(&[&[30], &string(public.as_ref())[..]].concat()).await;
        let reply = self.receive().await;
        assert_eq!(reply[0], 31, "the exchange's reply");
        let mut rest = &reply[1..];
        let host_key = take(&mut rest);
        let their_public = take(&mut rest);
        let peer = UnparsedPublicKey::new(&X25519, &their_public);
        let secret = agree_ephemeral(private, peer, (), |secret| Ok(mpint(secret))).unwrap();
        let mut hash = Sha256::new();
        for part in [&self.client_id[..], &self.server_id, ours, &theirs, &host_key, public.as_ref(), &their_public] {
            hash.update(string(part));
        }
        hash.update(&secret);
        let hash = hash.finalize().to_vec();
        let session = self.session_id.get_or_insert_with(|| hash.clone()).clone();
        let derive = |letter: u8| Sha256::digest([&secret, &hash[..], &[letter], &session].concat()).to_vec();
        self.strict |=
            contains(ours, b"kex-strict-c-v00@openssh.com") && contains(&theirs, b"kex-strict-s-v00@openssh.com");
        self.send(&[21]).await;
        let key = |letter| UnboundCipherKey::new(&AES_256, &derive(letter)).unwrap();
        let iv = |letter| FixedLength::from(<[u8; 16]>::try_from(&derive(letter)[..16]).unwrap());
        let out = StreamingEncryptingKey::less_safe_ctr(key(b'C'), EncryptionContext::Iv128(iv(b'A'))).unwrap();
        let incoming = StreamingDecryptingKey::ctr(key(b'D'), DecryptionContext::Iv128(iv(b'B'))).unwrap();
        self.out = Some((out, derive(b'E')));
        let newkeys = self.receive().await;
        assert_eq!(newkeys, [21]);
        self.incoming = Some((incoming, derive(b'F')));
        if self.strict {
            (self.sent, self.received) = (0, 0);
        }
    }

    /// Logs in with a key.
    pub(super) async fn log_in(&mut self, login: &str, key: &PrivateKey) {
        let public = key.public_key().to_bytes().unwrap();
        let sign = |data: &[u8]| {
            let signature: Signature = key.try_sign(data).unwrap();
            [&b"ssh-ed25519"[..], signature.as_bytes()].map(string).concat()
        };
        assert!(self.prove(login, "ssh-ed25519", &public, sign).await, "the login is refused");
    }

    /// Tries to log in with a signature that is made of what is to be signed; whether that was good enough.
    pub(super) async fn prove(
        &mut self,
        login: &str,
        algorithm: &str,
        key: &[u8],
        sign: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> bool {
        self.ask_to_log_in().await;
        let mut request = vec![50];
        request.extend([login.as_bytes(), b"ssh-connection", b"publickey"].map(string).concat());
        request.push(1);
        request.extend([algorithm.as_bytes(), key].map(string).concat());
        request.extend(string(&sign(&self.to_be_signed(&request))));
        self.send(&request).await;
        loop {
            let answer = self.receive().await;
            if matches!(answer[0], 51 | 52) {
                return answer[0] == 52;
            }
            assert_ne!(answer[0], 1, "disconnected: {}", String::from_utf8_lossy(&answer));
        }
    }

    /// What a signature of a request is over (RFC 4252, section 7).
    pub(super) fn to_be_signed(&self, request: &[u8]) -> Vec<u8> {
        [&string(self.session_id.as_ref().unwrap())[..], request].concat()
    }

    /// Once, as most clients do.
    pub(super) async fn ask_to_log_in(&mut self) {
        if !std::mem::replace(&mut self.logging_in, true) {
            self.send(&[&[5], &string(b"ssh-userauth")[..]].concat()).await;
            self.until(6).await;
        }
    }

    /// As clients do that ask for the service before each of their attempts.
    pub(super) async fn ask_to_log_in_again(&mut self) {
        self.logging_in = false;
        self.ask_to_log_in().await;
    }

    /// Asks whether a key would do, without signing anything; gives the type of the answer, and the answer.
    pub(super) async fn offer_key(&mut self, login: &str, algorithm: &str, key: &[u8]) -> (u8, Vec<u8>) {
        self.ask_to_log_in().await;
        let mut request = vec![50];
        request.extend([login.as_bytes(), b"ssh-connection", b"publickey"].map(string).concat());
        request.push(0);
        request.extend([algorithm.as_bytes(), key].map(string).concat());
        self.send(&request).await;
        loop {
            let answer = self.receive().await;
            if matches!(answer[0], 51 | 60) {
                return (answer[0], answer);
            }
        }
    }

    /// Opens a session channel and starts a command; returns the server's number for it.
    pub(super) async fn exec(&mut self, ours: u32, window: u32, packet: u32, command: &str) -> u32 {
        self.start([ours, window, packet], "exec", command).await
    }

    /// Opens a session channel and starts a subsystem; returns the server's number for it.
    pub(super) async fn subsystem(&mut self, ours: u32, window: u32, packet: u32, name: &str) -> u32 {
        self.start([ours, window, packet], "subsystem", name).await
    }

    /// Opens a session channel and starts a shell on a terminal there; returns the server's number for it.
    pub(super) async fn shell(&mut self, ours: u32) -> u32 {
        let theirs = self.session([ours, 1 << 20, 32768]).await;
        let terminal = [&string(b"xterm")[..], &[0, 0, 0, 80, 0, 0, 0, 24], &[0; 8], &string(&[0])].concat();
        for (request, what) in [("pty-req", terminal), ("shell", Vec::new())] {
            let name = string(request.as_bytes());
            self.send(&[&[98], &theirs.to_be_bytes()[..], &name, &[1], &what].concat()).await;
            self.until(99).await;
        }
        theirs
    }

    /// What the server says on its channels, up to these words.
    pub(super) async fn until_it_says(&mut self, words: &str) -> String {
        let mut said = String::new();
        while !said.contains(words) {
            let packet = self.receive().await;
            match packet[0] {
                94 => said.push_str(&String::from_utf8_lossy(&packet[9..])),
                95 => said.push_str(&String::from_utf8_lossy(&packet[13..])),
                97 | 1 => panic!("it ended, and said {said:?}"),
                _ => {}
            }
        }
        said
    }

    async fn session(&mut self, numbers: [u32; 3]) -> u32 {
        let mut open = vec![90];
        open.extend(string(b"session"));
        numbers.iter().for_each(|n| open.extend(n.to_be_bytes()));
        self.send(&open).await;
        let confirmed = self.until(91).await;
        assert_eq!(confirmed[1..5], numbers[0].to_be_bytes(), "the channel that was asked for");
        u32::from_be_bytes(confirmed[5..9].try_into().unwrap())
    }

    async fn start(&mut self, numbers: [u32; 3], request: &str, what: &str) -> u32 {
        let theirs = self.session(numbers).await;
        let mut start = vec![98];
        start.extend(theirs.to_be_bytes());
        start.extend(string(request.as_bytes()));
        start.push(1);
        start.extend(string(what.as_bytes()));
        self.send(&start).await;
        self.until(99).await;
        theirs
    }

    /// Data on a channel, when its window is wide enough.
    pub(super) async fn data(&mut self, channel: u32, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap();
        let ours = self.ours[&channel];
        while self.windows[&ours] < length {
            let packet = self.read_packet().await.expect("the server has hung up");
            assert_ne!(packet[0], 1, "disconnected: {}", String::from_utf8_lossy(&packet));
            self.early.push_back(packet);
        }
        *self.windows.get_mut(&ours).unwrap() -= length;
        self.send(&[&[94], &channel.to_be_bytes()[..], &string(bytes)].concat()).await;
    }

    /// More window for the server.
    pub(super) async fn adjust(&mut self, channel: u32, amount: u32) {
        self.send(&[&[93], &channel.to_be_bytes()[..], &amount.to_be_bytes()].concat()).await;
    }

    /// Receives until a packet of that type.
    pub(super) async fn until(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let packet = self.receive().await;
            if packet[0] == kind {
                return packet;
            }
            assert_ne!(packet[0], 1, "disconnected: {}", String::from_utf8_lossy(&packet));
        }
    }

    /// Frames, encrypts and sends a payload.
    pub(super) async fn send(&mut self, payload: &[u8]) {
        self.try_send(payload).await.unwrap();
    }

    pub(super) async fn try_send(&mut self, payload: &[u8]) -> std::io::Result<()> {
        let block = if self.out.is_some() { 16 } else { 8 };
        let mut padding = block - (5 + payload.len()) % block;
        if padding < 4 {
            padding += block;
        }
        let mut packet = u32::try_from(1 + payload.len() + padding).unwrap().to_be_bytes().to_vec();
        packet.push(u8::try_from(padding).unwrap());
        packet.extend_from_slice(payload);
        packet.extend(std::iter::repeat_n(0, padding));
        self.try_send_packet(packet).await
    }

    /// Encrypts and sends a packet as it is, whatever its lengths say.
    pub(super) async fn send_packet(&mut self, packet: &[u8]) {
        self.try_send_packet(packet.to_vec()).await.unwrap();
    }

    async fn try_send_packet(&mut self, mut packet: Vec<u8>) -> std::io::Result<()> {
        if let Some((cipher, key)) = &mut self.out {
            let mac = mac(key, self.sent, &packet);
            let mut encrypted = vec![0; packet.len() + 16];
            let update = cipher.update(&packet, &mut encrypted).unwrap();
            let length = update.written().len();
            assert_eq!(length, packet.len());
            encrypted.truncate(length);
            encrypted.extend_from_slice(&mac);
            packet = encrypted;
        }
        self.sent = self.sent.wrapping_add(1);
        self.tcp.write_all(&packet).await
    }

    /// The next payload; panics at the end of the connection.
    pub(super) async fn receive(&mut self) -> Vec<u8> {
        self.try_receive().await.expect("the server has hung up")
    }

    /// The next payload; `None` at the end of the connection.
    pub(super) async fn try_receive(&mut self) -> Option<Vec<u8>> {
        match self.early.pop_front() {
            Some(packet) => Some(packet),
            None => self.read_packet().await,
        }
    }

    /// The server's windows for our channels, once it has said nothing for so long.
    pub(super) async fn windows_after(&mut self, quiet: Duration) -> HashMap<u32, u64> {
        while tokio::time::timeout(quiet, self.tcp.peek(&mut [0])).await.is_ok() {
            let packet = self.read_packet().await.expect("the server has hung up");
            self.early.push_back(packet);
        }
        self.windows.clone()
    }

    async fn read_packet(&mut self) -> Option<Vec<u8>> {
        let waited = tokio::time::timeout(Duration::from_secs(20), self.receive_one()).await;
        let packet = waited.expect("the server says nothing and does not hang up").ok()?;
        let number = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        match packet[0] {
            91 => {
                self.ours.insert(number(5), number(1));
                self.windows.insert(number(1), number(9).into());
            }
            93 => *self.windows.entry(number(1)).or_default() += u64::from(number(5)),
            _ => {}
        }
        Some(packet)
    }

    async fn receive_one(&mut self) -> std::io::Result<Vec<u8>> {
        let Some((mut cipher, key)) = self.incoming.take() else {
            let length = usize::try_from(self.tcp.read_u32().await?).unwrap();
            let mut packet = vec![0; length];
            self.tcp.read_exact(&mut packet).await?;
            self.received = self.received.wrapping_add(1);
            return Ok(packet[1..length - usize::from(packet[0])].to_vec());
        };
        let mut decrypt = |bytes: &[u8]| {
            let mut plain = vec![0; bytes.len() + 16];
            let length = cipher.update(bytes, &mut plain).unwrap().written().len();
            plain.truncate(length);
            assert_eq!(length, bytes.len());
            plain
        };
        let mut first = [0; 16];
        self.tcp.read_exact(&mut first).await?;
        let mut packet = decrypt(&first);
        let length = usize::try_from(u32::from_be_bytes(packet[..4].try_into().unwrap())).unwrap();
        let mut rest = vec![0; length + 4 - 16 + 32];
        self.tcp.read_exact(&mut rest).await?;
        let (body, their_mac) = rest.split_at(length + 4 - 16);
        packet.extend(decrypt(body));
        assert_eq!(mac(&key, self.received, &packet), their_mac, "the server's packet is intact");
        self.incoming = Some((cipher, key));
        self.received = self.received.wrapping_add(1);
        Ok(packet[5..4 + length - usize::from(packet[4])].to_vec())
    }

    /// Whether the server ends the connection within a time; what it says first is ignored.
    pub(super) async fn gets_hung_up_on(mut self, within: Duration) -> bool {
        let mut sink = vec![0; 64 * 1024];
        let reads = async { while !matches!(self.tcp.read(&mut sink).await, Ok(0) | Err(_)) {} };
        tokio::time::timeout(within, reads).await.is_ok()
    }
}

/// What a KEXINIT offers.
pub(super) struct Offer {
    pub(super) kex: String,
    pub(super) cipher: String,
    pub(super) mac: String,
    pub(super) compression: String,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            kex: "curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com".to_owned(),
            cipher: "aes256-ctr".to_owned(),
            mac: "hmac-sha2-256".to_owned(),
            compression: "none".to_owned(),
        }
    }
}

impl Offer {
    pub(super) fn packet(&self) -> Vec<u8> {
        let mut packet = vec![20];
        packet.extend([7; 16]);
        let keys = "ssh-ed25519";
        let lists = [&self.kex, keys, &self.cipher, &self.cipher, &self.mac, &self.mac];
        lists.iter().for_each(|list| packet.extend(string(list.as_bytes())));
        (0..2).for_each(|_| packet.extend(string(self.compression.as_bytes())));
        packet.extend([0; 8 + 1 + 4]);
        packet
    }
}

/// The ten name lists of a KEXINIT.
pub(super) fn name_lists(kexinit: &[u8]) -> Vec<String> {
    let mut rest = &kexinit[17..];
    (0..10).map(|_| String::from_utf8(take(&mut rest)).unwrap()).collect()
}

pub(super) fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

pub(super) fn take(rest: &mut &[u8]) -> Vec<u8> {
    let (length, after) = rest.split_first_chunk::<4>().unwrap();
    let (taken, after) = after.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
    *rest = after;
    taken.to_vec()
}

fn mpint(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let bytes = &bytes[zeros..];
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => string(&[&[0], bytes].concat()),
        _ => string(bytes),
    }
}

fn mac(key: &[u8], sequence: u32, packet: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(&sequence.to_be_bytes());
    mac.update(packet);
    mac.finalize().into_bytes().to_vec()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
