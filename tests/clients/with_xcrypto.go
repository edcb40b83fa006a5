// Go's x/crypto/ssh with pkg/sftp, driven for scripts/clients: HOST PORT USER KEY WHAT ARGUMENTS… (see scripts/clients/client.py for what
// each WHAT is).
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func configuration(user, key string, code *string) (*ssh.ClientConfig, error) {
	text, err := os.ReadFile(key)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	methods := []ssh.AuthMethod{ssh.PublicKeys(signer)}
	if code != nil {
		methods = append(methods, ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for at := range answers {
				answers[at] = *code
			}
			return answers, nil
		}))
	}
	return &ssh.ClientConfig{User: user, Auth: methods, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: time.Minute}, nil
}

// status is the exit status of a session that has ended.
func status(err error) (int, error) {
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return exit.ExitStatus(), nil
	}
	return 0, err
}

func exec(client *ssh.Client, command string) (int, error) {
	session, err := client.NewSession()
	if err != nil {
		return 0, err
	}
	defer session.Close()
	return relay(session, func() error { return session.Start(command) })
}

func shell(client *ssh.Client) (int, error) {
	session, err := client.NewSession()
	if err != nil {
		return 0, err
	}
	defer session.Close()
	if err := session.RequestPty("xterm", 43, 132, ssh.TerminalModes{ssh.ECHO: 1}); err != nil {
		return 0, err
	}
	return relay(session, session.Shell)
}

// relay is standard input to the session and back, both streams apart, to its end.
func relay(session *ssh.Session, start func() error) (int, error) {
	// a session that is given standard input itself waits for its end
	input, err := session.StdinPipe()
	if err != nil {
		return 0, err
	}
	session.Stdout, session.Stderr = os.Stdout, os.Stderr
	if err := start(); err != nil {
		return 0, err
	}
	go func() {
		_, _ = io.Copy(input, os.Stdin)
		_ = input.Close()
	}()
	return status(session.Wait())
}

func expect(holds bool, said ...interface{}) error {
	if holds {
		return nil
	}
	return fmt.Errorf("unexpected: %v", said)
}

func copied(to io.WriteCloser, from io.ReadCloser) error {
	defer from.Close()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	return to.Close()
}

func files(client *ssh.Client, local, there, back string) error {
	files, err := sftp.NewClient(client)
	if err != nil {
		return err
	}
	defer files.Close()
	moved, link := path.Join(there, "moved"), path.Join(there, "link")
	steps := []func() error{
		func() error { return files.Mkdir(there) },
		func() error {
			from, err := os.Open(local)
			if err != nil {
				return err
			}
			to, err := files.Create(path.Join(there, "file"))
			if err != nil {
				return err
			}
			return copied(to, from)
		},
		func() error { return files.Rename(path.Join(there, "file"), moved) },
		func() error { return files.Symlink("moved", link) },
		func() error { return files.Chmod(moved, 0o600) },
		func() error {
			target, err := files.ReadLink(link)
			if err != nil {
				return err
			}
			return expect(target == "moved", target)
		},
		func() error {
			entries, err := files.ReadDir(there)
			if err != nil {
				return err
			}
			var names []string
			for _, entry := range entries {
				names = append(names, entry.Name())
			}
			sort.Strings(names)
			return expect(strings.Join(names, " ") == "link moved", names)
		},
		func() error {
			from, err := files.Open(moved)
			if err != nil {
				return err
			}
			to, err := os.Create(back)
			if err != nil {
				return err
			}
			return copied(to, from)
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// scp is how Packer's communicator copies: it speaks the protocol with `scp -t` and `scp -f` itself.
func scp(client *ssh.Client, local, there, back string) error {
	content, err := os.ReadFile(local)
	if err != nil {
		return err
	}
	up, err := client.NewSession()
	if err != nil {
		return err
	}
	input, err := up.StdinPipe()
	if err != nil {
		return err
	}
	said, err := up.StdoutPipe()
	if err != nil {
		return err
	}
	if err := up.Start("scp -vt " + path.Dir(there)); err != nil {
		return err
	}
	fmt.Fprintf(input, "C0600 %d %s\n", len(content), path.Base(there))
	if err := acknowledged(said); err != nil {
		return err
	}
	if _, err := input.Write(append(content, 0)); err != nil {
		return err
	}
	if err := acknowledged(said); err != nil {
		return err
	}
	_ = input.Close()
	if err := up.Wait(); err != nil {
		return err
	}

	down, err := client.NewSession()
	if err != nil {
		return err
	}
	down.Stdin = bytes.NewReader(make([]byte, 3))
	got, err := down.Output("scp -f " + there)
	if err != nil {
		return err
	}
	end := bytes.IndexByte(got, '\n')
	var mode, size int
	if _, err := fmt.Sscanf(string(got[:end]), "C%o %d", &mode, &size); err != nil {
		return err
	}
	return os.WriteFile(back, got[end+1:end+1+size], 0o600)
}

// acknowledged is the answer of scp's other end to what it was told.
func acknowledged(said io.Reader) error {
	answer := make([]byte, 1)
	if _, err := io.ReadFull(said, answer); err != nil {
		return err
	}
	return expect(answer[0] == 0, answer[0])
}

// directory is how Packer copies one: file by file, each step acknowledged.
func directory(client *ssh.Client, there string, names []string, content []byte) error {
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	input, err := session.StdinPipe()
	if err != nil {
		return err
	}
	said, err := session.StdoutPipe()
	if err != nil {
		return err
	}
	if err := session.Start("scp -rvt " + path.Dir(there)); err != nil {
		return err
	}
	steps := []string{fmt.Sprintf("D0755 0 %s\n", path.Base(there))}
	for _, name := range names {
		steps = append(steps, fmt.Sprintf("C0644 %d %s\n", len(content), name), string(content)+"\x00")
	}
	for _, step := range append(steps, "E\n") {
		if _, err := io.WriteString(input, step); err != nil {
			return err
		}
		if err := acknowledged(said); err != nil {
			return err
		}
	}
	_ = input.Close()
	return session.Wait()
}

// onTerminal is a command where `ssh_pty` is set: with a line's end, as from a keyboard.
func onTerminal(client *ssh.Client, command string) (int, error) {
	session, err := client.NewSession()
	if err != nil {
		return 0, err
	}
	defer session.Close()
	modes := ssh.TerminalModes{ssh.ECHO: 0, ssh.TTY_OP_ISPEED: 14400, ssh.TTY_OP_OSPEED: 14400}
	if err := session.RequestPty("xterm", 40, 80, modes); err != nil {
		return 0, err
	}
	session.Stdout, session.Stderr = os.Stdout, os.Stderr
	if err := session.Start(command + "\n"); err != nil {
		return 0, err
	}
	return status(session.Wait())
}

func many(client *ssh.Client, count int) error {
	lines := make([]string, count)
	var group sync.WaitGroup
	for number := range lines {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			session, err := client.NewSession()
			if err != nil {
				lines[number] = err.Error()
				return
			}
			said, err := session.Output(fmt.Sprintf("sleep 0.2; echo %d; exit %d", number, number%7))
			code, err := status(err)
			lines[number] = strings.TrimSpace(fmt.Sprintf("%s %d", strings.TrimSpace(string(said)), code))
			if err != nil {
				lines[number] = err.Error()
			}
		}(number)
	}
	group.Wait()
	fmt.Println(strings.Join(lines, "\n"))
	return nil
}

// early is a command whose input is on its way before anybody said that it was started.
func early(client *ssh.Client, command string, count int) error {
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		return err
	}
	go ssh.DiscardRequests(requests)
	if _, err := channel.SendRequest("exec", false, ssh.Marshal(struct{ Command string }{command})); err != nil {
		return err
	}
	if _, err := channel.Write(bytes.Repeat([]byte("early\n\x00\xff"), count/8)); err != nil {
		return err
	}
	if err := channel.CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, channel)
	return err
}

func forward(client *ssh.Client, address string) error {
	connection, err := client.Dial("tcp", address)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(connection, os.Stdin) }()
	_, err = io.Copy(os.Stdout, connection)
	return err
}

func hop(client *ssh.Client, node, user, key, command string) (int, error) {
	connection, err := client.Dial("tcp", net.JoinHostPort(node, "22"))
	if err != nil {
		return 0, err
	}
	config, err := configuration(user, key, nil)
	if err != nil {
		return 0, err
	}
	inner, channels, requests, err := ssh.NewClientConn(connection, node, config)
	if err != nil {
		return 0, err
	}
	return exec(ssh.NewClient(inner, channels, requests), command)
}

// packer is what its communicator does before it runs a provisioner's script: it dials until somebody answers, keeps the connection
// alive by a request of its own, copies a directory and the script by scp, makes that executable and runs it with the variables before it,
// once on a terminal and once without.
func packer(client *ssh.Client, local, there, back string) (int, error) {
	for turn := 0; turn < 3; turn++ {
		if _, _, err := client.SendRequest("keepalive@packer.io", true, nil); err != nil {
			return 0, err
		}
	}
	if err := scp(client, local, there, back); err != nil {
		return 0, err
	}
	if code, err := exec(client, "chmod 0755 "+there); err != nil || code != 0 {
		return code, err
	}
	if err := directory(client, there+".d", []string{"one", "two"}, bytes.Repeat([]byte("content\x00\xff\n"), 10_000)); err != nil {
		return 0, err
	}
	run := "chmod +x " + there + "; PACKER_BUILDER_TYPE='null' PACKER_BUILD_NAME='null'  " + there
	if code, err := onTerminal(client, run); err != nil || code != 7 {
		return 0, fmt.Errorf("on a terminal: %d, %v", code, err)
	}
	return exec(client, run)
}

func run(args []string) (int, error) {
	address, user, key, what, more := net.JoinHostPort(args[0], args[1]), args[2], args[3], args[4], args[5:]
	var code *string
	if what == "coded" {
		code, more = &more[0], more[1:]
	}
	config, err := configuration(user, key, code)
	if err != nil {
		return 0, err
	}
	client, err := ssh.Dial("tcp", address, config)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	switch what {
	case "exec", "coded":
		return exec(client, more[0])
	case "shell":
		return shell(client)
	case "sftp":
		return 0, files(client, more[0], more[1], more[2])
	case "scp":
		return 0, scp(client, more[0], more[1], more[2])
	case "packer":
		return packer(client, more[0], more[1], more[2])
	case "many", "early":
		count, err := strconv.Atoi(more[len(more)-1])
		if err != nil {
			return 0, err
		}
		if what == "many" {
			return 0, many(client, count)
		}
		return 0, early(client, more[0], count)
	case "forward":
		return 0, forward(client, net.JoinHostPort(more[0], more[1]))
	case "hop":
		return hop(client, more[0], more[1], key, more[2])
	}
	return 0, fmt.Errorf("what is %s?", what)
}

func main() {
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 255
	}
	os.Exit(status)
}
