// A goroutine for each connection, with Go's net package: answers each line in upper case.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

const wait = 50 * time.Millisecond

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	// The benchmark holds the other end of standard input.
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			continue
		}
		go serve(connection)
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return
		}
		switch line[0] {
		case 'B':
			request := syscall.NsecToTimespec(wait.Nanoseconds())
			syscall.Nanosleep(&request, nil)
		case 'W':
			time.Sleep(wait)
		}
		for i, c := range line {
			if 'a' <= c && c <= 'z' {
				line[i] = c - 'a' + 'A'
			}
		}
		if _, err := connection.Write(line); err != nil {
			return
		}
	}
}
