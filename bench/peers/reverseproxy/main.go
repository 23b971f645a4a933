// A reverse proxy of Go's standard library, as a peer for the benchmark: it checks nothing and changes nothing.
package main

import (
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
)

// buffers keeps the buffers that bodies are copied through: their size is most of what a big body costs.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte     { return b.pool.Get().([]byte) }
func (b *buffers) Put(some []byte) { b.pool.Put(some) }

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	backend := flag.String("backend", "http://127.0.0.1:9000", "where requests go")
	size := flag.Int("buffer", 64<<10, "bytes copied at once")
	flag.Parse()
	target, err := url.Parse(*backend)
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.BufferPool = &buffers{sync.Pool{New: func() any { return make([]byte, *size) }}}
	proxy.Transport = &http.Transport{
		MaxIdleConns: 2048, MaxIdleConnsPerHost: 2048, DisableCompression: true,
		ReadBufferSize: *size, WriteBufferSize: *size,
	}
	log.Fatal(http.ListenAndServe(*listen, proxy))
}
