// Asks one host over TLS and HTTP/2, as each line of the standard input says: GET on the connection that there is, or NEW
// one.
//
// Prints the status, how many connections there were, and who issued the certificate. Takes HOST PORT AUTHORITY, where the
// last is a certificate in PEM; connects to this machine whatever the name.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	host, port, authority := os.Args[1], os.Args[2], os.Args[3]
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(authority)) {
		panic("the authority cannot be read")
	}
	connections := 0
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			connections++
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}
	client := &http.Client{Transport: transport}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() == "NEW" {
			transport.CloseIdleConnections()
		}
		answer, err := client.Get("https://" + host + ":" + port + "/")
		if err != nil {
			panic(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			panic(err)
		}
		answer.Body.Close()
		if answer.ProtoMajor != 2 {
			panic("it is not HTTP/2: " + answer.Proto)
		}
		fmt.Println(answer.StatusCode, connections, answer.TLS.PeerCertificates[0].Issuer.CommonName)
	}
}
