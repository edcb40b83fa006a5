import com.jcraft.jsch.Channel;
import com.jcraft.jsch.ChannelDirectTCPIP;
import com.jcraft.jsch.ChannelExec;
import com.jcraft.jsch.ChannelSftp;
import com.jcraft.jsch.ChannelShell;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;
import com.jcraft.jsch.UIKeyboardInteractive;
import com.jcraft.jsch.UserInfo;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.math.BigInteger;
import java.net.Socket;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;

/**
 * JSch, driven for scripts/clients: HOST PORT USER KEY WHAT ARGUMENTS… (see scripts/clients/client.py for what each WHAT is).
 */
public final class WithJsch {
    /** What a window would ask a person; here the code is known. */
    private static final class Asked implements UserInfo, UIKeyboardInteractive {
        private final String code;

        Asked(String code) {
            this.code = code;
        }

        @Override
        public String[] promptKeyboardInteractive(String to, String name, String instruction, String[] prompts, boolean[] echo) {
            String[] answers = new String[prompts.length];
            Arrays.fill(answers, code);
            return answers;
        }

        @Override
        public String getPassphrase() {
            return null;
        }

        @Override
        public String getPassword() {
            return null;
        }

        @Override
        public boolean promptPassword(String message) {
            return false;
        }

        @Override
        public boolean promptPassphrase(String message) {
            return false;
        }

        @Override
        public boolean promptYesNo(String message) {
            return true;
        }

        @Override
        public void showMessage(String message) {
            System.err.println(message);
        }
    }

    private static Session connect(String host, int port, String user, String key, String code) throws Exception {
        JSch library = new JSch();
        library.addIdentity(key);
        Session session = library.getSession(user, host, port);
        session.setConfig("StrictHostKeyChecking", "no");
        session.setUserInfo(new Asked(code));
        session.connect(60_000);
        return session;
    }

    /** Waits for the channel's end and gives its exit status. */
    private static int ended(Channel channel) throws Exception {
        while (!channel.isClosed()) {
            Thread.sleep(5);
        }
        channel.disconnect();
        return channel.getExitStatus();
    }

    private static void copy(InputStream from, OutputStream to) throws Exception {
        byte[] bytes = new byte[1 << 15];
        for (int count = from.read(bytes); count >= 0; count = from.read(bytes)) {
            to.write(bytes, 0, count);
            to.flush();
        }
    }

    private static int exec(Session session, String command) throws Exception {
        ChannelExec channel = (ChannelExec) session.openChannel("exec");
        channel.setCommand(command);
        channel.setInputStream(System.in, true);
        channel.setErrStream(System.err, true);
        InputStream said = channel.getInputStream();
        channel.connect();
        copy(said, System.out);
        return ended(channel);
    }

    private static int shell(Session session) throws Exception {
        ChannelShell channel = (ChannelShell) session.openChannel("shell");
        channel.setPtyType("xterm", 132, 43, 0, 0);
        channel.setInputStream(System.in, true);
        InputStream said = channel.getInputStream();
        channel.connect();
        copy(said, System.out);
        return ended(channel);
    }

    private static void expect(boolean holds, Object said) {
        if (!holds) {
            throw new IllegalStateException("unexpected: " + said);
        }
    }

    private static int sftp(Session session, String local, String there, String back) throws Exception {
        ChannelSftp files = (ChannelSftp) session.openChannel("sftp");
        files.connect();
        files.mkdir(there);
        files.put(local, there + "/file");
        files.rename(there + "/file", there + "/moved");
        files.cd(there);
        files.symlink("moved", "link");
        files.chmod(0600, there + "/moved");
        // JSch makes both of its arguments absolute
        expect(files.readlink(there + "/link").endsWith("moved"), files.readlink(there + "/link"));
        TreeSet<String> names = new TreeSet<>();
        for (Object entry : files.ls(there)) {
            names.add(((ChannelSftp.LsEntry) entry).getFilename());
        }
        names.removeAll(Arrays.asList(".", ".."));
        expect(names.equals(new TreeSet<>(Arrays.asList("link", "moved"))), names);
        expect(files.stat(there + "/moved").getSize() == new File(local).length(), files.stat(there + "/moved"));
        files.get(there + "/moved", back);
        files.disconnect();
        return 0;
    }

    private static int many(Session session, int count) throws Exception {
        List<ChannelExec> channels = new ArrayList<>();
        List<ByteArrayOutputStream> said = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            ChannelExec channel = (ChannelExec) session.openChannel("exec");
            channel.setCommand("sleep 0.2; echo " + number + "; exit " + number % 7);
            ByteArrayOutputStream output = new ByteArrayOutputStream();
            channel.setOutputStream(output);
            channel.connect();
            channels.add(channel);
            said.add(output);
        }
        for (int number = 0; number < count; number++) {
            int status = ended(channels.get(number));
            System.out.println(said.get(number).toString().trim() + " " + status);
        }
        return 0;
    }

    private static int forward(Session session, String host, int port) throws Exception {
        ChannelDirectTCPIP channel = (ChannelDirectTCPIP) session.openChannel("direct-tcpip");
        channel.setHost(host);
        channel.setPort(port);
        channel.setInputStream(System.in, true);
        InputStream said = channel.getInputStream();
        channel.connect(60_000);
        copy(said, System.out);
        channel.disconnect();
        return 0;
    }

    /** As database tools do it: a local port, a keep-alive, and a connection to that port which hears a greeting first. */
    private static int tunnel(Session session, String host, int port) throws Exception {
        session.setServerAliveInterval(1000);
        int local = session.setPortForwardingL("127.0.0.1", 0, host, port);
        try (Socket socket = new Socket("127.0.0.1", local)) {
            socket.setSoTimeout(20_000);
            byte[] bytes = new byte[64];
            int count = socket.getInputStream().read(bytes);
            System.out.print(count < 0 ? "" : new String(bytes, 0, count, "UTF-8"));
            return count < 0 ? 1 : 0;
        }
    }

    /**
     * A database tool: one connection for what is typed, one for the tree of tables, one for a long result; a statement that is stopped, for
     * which the driver dials once more; and a while in which nothing is asked.
     */
    private static int database(Session session, String host, int port, String user) throws Exception {
        session.setServerAliveInterval(1000);
        int local = session.setPortForwardingL("127.0.0.1", 0, host, port);
        String url = "jdbc:postgresql://127.0.0.1:" + local + "/postgres?socketTimeout=60&user=" + user;
        try (Connection typed = DriverManager.getConnection(url); Connection tree = DriverManager.getConnection(url);
                Connection result = DriverManager.getConnection(url); Statement statement = typed.createStatement()) {
            statement.execute("CREATE TABLE words AS SELECT n, md5(n::text) AS word FROM generate_series(1, 100000) AS n");
            try (ResultSet tables = tree.getMetaData().getTables(null, "public", "words", null)) {
                expect(tables.next() && !tables.next(), "the tree has not the table");
            }
            rows(result);
            blob(typed);
            stopped(typed);
            Thread.sleep(3000);
            try (ResultSet one = statement.executeQuery("SELECT count(*) FROM words")) {
                expect(one.next() && one.getInt(1) == 100_000, "the connection did not outlive its pause");
            }
            statement.execute("DROP TABLE words");
        }
        return 0;
    }

    /** All rows, a page at a time, each as the database has computed it. */
    private static void rows(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        MessageDigest md5 = MessageDigest.getInstance("MD5");
        int count = 0;
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(500);
            try (ResultSet rows = statement.executeQuery("SELECT n, word FROM words ORDER BY n")) {
                while (rows.next()) {
                    count++;
                    String word = String.format("%032x", new BigInteger(1, md5.digest(String.valueOf(count).getBytes("UTF-8"))));
                    expect(rows.getInt(1) == count && rows.getString(2).equals(word), "row " + count);
                }
            }
        }
        connection.commit();
        expect(count == 100_000, count);
    }

    private static void blob(Connection connection) throws Exception {
        byte[] sent = new byte[1 << 20];
        new Random().nextBytes(sent);
        try (PreparedStatement echo = connection.prepareStatement("SELECT ?::bytea")) {
            echo.setBytes(1, sent);
            try (ResultSet came = echo.executeQuery()) {
                expect(came.next() && Arrays.equals(came.getBytes(1), sent), "a blob came back as another");
            }
        }
    }

    private static void stopped(Connection connection) throws Exception {
        try (Statement slow = connection.createStatement()) {
            Thread stop = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    slow.cancel();
                } catch (Exception error) {
                    error.printStackTrace();
                }
            });
            stop.start();
            slow.execute("SELECT pg_sleep(50)");
            throw new IllegalStateException("what was stopped came to its end");
        } catch (SQLException stopped) {
            expect("57014".equals(stopped.getSQLState()), stopped);
        }
    }

    private static int hop(Session session, String node, String user, String key, String command) throws Exception {
        int local = session.setPortForwardingL("127.0.0.1", 0, node, 22);
        Session inner = connect("127.0.0.1", local, user, key, null);
        int status = exec(inner, command);
        inner.disconnect();
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
        // the threads of a session would keep this alive
        System.exit(status);
    }

    private static int run(String[] args) throws Exception {
        String key = args[3];
        String what = args[4];
        String[] more = Arrays.copyOfRange(args, 5, args.length);
        String code = null;
        if (what.equals("coded")) {
            code = more[0];
            more = Arrays.copyOfRange(more, 1, more.length);
        }
        Session session = connect(args[0], Integer.parseInt(args[1]), args[2], key, code);
        int status;
        switch (what) {
            case "exec":
            case "coded":
                status = exec(session, more[0]);
                break;
            case "shell":
                status = shell(session);
                break;
            case "sftp":
                status = sftp(session, more[0], more[1], more[2]);
                break;
            case "many":
                status = many(session, Integer.parseInt(more[0]));
                break;
            case "forward":
                status = forward(session, more[0], Integer.parseInt(more[1]));
                break;
            case "tunnel":
                status = tunnel(session, more[0], Integer.parseInt(more[1]));
                break;
            case "database":
                status = database(session, more[0], Integer.parseInt(more[1]), more[2]);
                break;
            case "hop":
                status = hop(session, more[0], more[1], key, more[2]);
                break;
            default:
                throw new IllegalArgumentException(what);
        }
        session.disconnect();
        return status;
    }
}
