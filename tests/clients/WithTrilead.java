import com.trilead.ssh2.ChannelCondition;
import com.trilead.ssh2.Connection;
import com.trilead.ssh2.LocalStreamForwarder;
import com.trilead.ssh2.SCPClient;
import com.trilead.ssh2.SFTPv3Client;
import com.trilead.ssh2.SFTPv3DirectoryEntry;
import com.trilead.ssh2.SFTPv3FileAttributes;
import com.trilead.ssh2.SFTPv3FileHandle;
import com.trilead.ssh2.Session;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeSet;

/**
 * Trilead SSH-2, and what has the same classes (Ganymed, by another package; Jenkins' own), driven for scripts/clients: HOST PORT USER KEY
 * WHAT ARGUMENTS… (see scripts/clients/client.py for what each WHAT is).
 */
public final class WithTrilead {
    private static final int MINUTE = 60_000;
    /** What one packet of SFTP may carry here. */
    private static final int PIECE = 32_000;

    private static void expect(boolean holds, Object said) {
        if (!holds) {
            throw new IllegalStateException("unexpected: " + said);
        }
    }

    private static Connection connect(String host, int port, String user, String key, String code) throws Exception {
        Connection connection = new Connection(host, port);
        connection.connect(null, MINUTE, MINUTE);
        boolean done = connection.authenticateWithPublicKey(user, new File(key), null);
        if (code != null) {
            expect(!done && connection.isAuthenticationPartialSuccess(), "the key was enough, or nothing");
            done = connection.authenticateWithKeyboardInteractive(user, (name, instruction, count, prompts, echo) -> {
                String[] answers = new String[count];
                Arrays.fill(answers, code);
                return answers;
            });
        }
        expect(done, "not let in");
        return connection;
    }

    private static void copy(InputStream from, OutputStream to) throws IOException {
        byte[] bytes = new byte[1 << 15];
        for (int count = from.read(bytes); count >= 0; count = from.read(bytes)) {
            to.write(bytes, 0, count);
            to.flush();
        }
    }

    private static Thread copying(InputStream from, OutputStream to, boolean close) {
        Thread thread = new Thread(() -> {
            try {
                copy(from, to);
                if (close) {
                    to.close();
                }
            } catch (IOException ended) {
                // the other end has gone, which whoever waits for it sees
            }
        });
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    /** Standard input to the session and back, both streams apart, to its end. */
    private static int relay(Session session) throws Exception {
        copying(System.in, session.getStdin(), true);
        Thread errors = copying(session.getStderr(), System.err, false);
        copy(session.getStdout(), System.out);
        errors.join();
        return ended(session);
    }

    private static int ended(Session session) throws Exception {
        int held = session.waitForCondition(ChannelCondition.EXIT_STATUS, MINUTE);
        expect((held & ChannelCondition.EXIT_STATUS) != 0, "no exit status");
        int status = session.getExitStatus();
        session.close();
        return status;
    }

    private static int exec(Connection connection, String command) throws Exception {
        Session session = connection.openSession();
        session.execCommand(command);
        return relay(session);
    }

    private static int shell(Connection connection) throws Exception {
        Session session = connection.openSession();
        session.requestPTY("xterm", 132, 43, 0, 0, null);
        session.startShell();
        return relay(session);
    }

    private static int sftp(Connection connection, String local, String there, String back) throws Exception {
        SFTPv3Client files = new SFTPv3Client(connection);
        byte[] content = Files.readAllBytes(new File(local).toPath());
        String moved = there + "/moved";
        String link = there + "/link";
        files.mkdir(there, 0755);
        SFTPv3FileHandle handle = files.createFile(there + "/file");
        for (int at = 0; at < content.length; at += PIECE) {
            files.write(handle, at, content, at, Math.min(PIECE, content.length - at));
        }
        files.closeFile(handle);
        files.mv(there + "/file", moved);
        files.createSymlink(link, "moved");
        SFTPv3FileAttributes mode = new SFTPv3FileAttributes();
        mode.permissions = 0600;
        files.setstat(moved, mode);
        expect(files.readLink(link).equals("moved"), files.readLink(link));
        TreeSet<String> names = new TreeSet<>();
        for (Object entry : files.ls(there)) {
            names.add(((SFTPv3DirectoryEntry) entry).filename);
        }
        names.removeAll(Arrays.asList(".", ".."));
        expect(names.equals(new TreeSet<>(Arrays.asList("link", "moved"))), names);
        expect(files.stat(moved).size == content.length, files.stat(moved).size);
        handle = files.openFileRO(moved);
        byte[] piece = new byte[PIECE];
        try (FileOutputStream to = new FileOutputStream(back)) {
            long at = 0;
            for (int count = files.read(handle, at, piece, 0, PIECE); count > 0; count = files.read(handle, at, piece, 0, PIECE)) {
                to.write(piece, 0, count);
                at += count;
            }
        }
        files.closeFile(handle);
        files.close();
        return 0;
    }

    private static int scp(Connection connection, String local, String there, String back) throws Exception {
        File to = new File(there);
        SCPClient files = new SCPClient(connection);
        files.put(local, to.getName(), to.getParent(), "0600");
        try (FileOutputStream into = new FileOutputStream(back)) {
            files.get(there, into);
        }
        return 0;
    }

    private static int many(Connection connection, int count) throws Exception {
        List<Session> sessions = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            Session session = connection.openSession();
            session.execCommand("sleep 0.2; echo " + number + "; exit " + number % 7);
            sessions.add(session);
        }
        for (Session session : sessions) {
            ByteArrayOutputStream said = new ByteArrayOutputStream();
            copy(session.getStdout(), said);
            System.out.println(said.toString().trim() + " " + ended(session));
        }
        return 0;
    }

    private static int forward(Connection connection, String host, int port) throws Exception {
        LocalStreamForwarder stream = connection.createLocalStreamForwarder(host, port);
        copying(System.in, stream.getOutputStream(), false);
        copy(stream.getInputStream(), System.out);
        stream.close();
        return 0;
    }

    private static int hop(Connection connection, String node, String user, String command) throws Exception {
        int local;
        try (ServerSocket free = new ServerSocket(0)) {
            local = free.getLocalPort();
        }
        connection.createLocalPortForwarder(local, node, 22);
        // no key is shown to it: who asks first is let in
        Connection inner = new Connection("127.0.0.1", local);
        inner.connect(null, MINUTE, MINUTE);
        expect(inner.authenticateWithNone(user), "not let in");
        int status = exec(inner, command);
        inner.close();
        return status;
    }

    public static void main(String[] args) {
        int status = 255;
        try {
            status = run(args);
        } catch (Exception error) {
            error.printStackTrace();
        }
        System.out.flush();
        // the threads of a connection would keep this alive
        System.exit(status);
    }

    private static int run(String[] args) throws Exception {
        String key = args[3];
        String what = args[4];
        String code = what.equals("coded") ? args[5] : null;
        String[] more = Arrays.copyOfRange(args, code == null ? 5 : 6, args.length);
        Connection connection = connect(args[0], Integer.parseInt(args[1]), args[2], key, code);
        int status;
        switch (what) {
            case "exec":
            case "coded":
                status = exec(connection, more[0]);
                break;
            case "shell":
                status = shell(connection);
                break;
            case "sftp":
                status = sftp(connection, more[0], more[1], more[2]);
                break;
            case "scp":
                status = scp(connection, more[0], more[1], more[2]);
                break;
            case "many":
                status = many(connection, Integer.parseInt(more[0]));
                break;
            case "forward":
                status = forward(connection, more[0], Integer.parseInt(more[1]));
                break;
            case "hop":
                status = hop(connection, more[0], more[1], more[2]);
                break;
            default:
                throw new IllegalArgumentException(what);
        }
        connection.close();
        return status;
    }
}
