// As known.c, in Go: a method, an interface, a generic function's instance. Argument: seconds.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

type shape interface{ area(uint64) uint64 }

type circle struct{ times int }

//go:noinline
func (c *circle) area(value uint64) uint64 {
	for i := 0; i < c.times; i++ {
		value = value*2862933555777941757 + 3037000493
	}
	return value
}

//go:noinline
func alphaMiddle(s shape, value uint64) uint64 { return s.area(value) + 1 }

//go:noinline
func alphaOuter(value uint64) uint64 { return alphaMiddle(&circle{20000}, value) + 1 }

//go:noinline
func betaLeaf(value uint64) uint64 {
	for i := 0; i < 20000; i++ {
		value = value*6364136223846793005 + 1442695040888963407
	}
	return value
}

//go:noinline
func betaOuter(value uint64) uint64 { return betaLeaf(value) + 1 }

type path struct {
	stack    string
	function func(uint64) uint64
	spent    time.Duration
}

func main() {
	seconds := 1.0
	if len(os.Args) > 1 {
		seconds, _ = strconv.ParseFloat(os.Args[1], 64)
	}
	paths := []path{
		{"main.main;main.alphaOuter;main.alphaMiddle;main.(*circle).area", alphaOuter, 0},
		{"main.main;main.betaOuter;main.betaLeaf", betaOuter, 0},
	}
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		os.Exit(1)
	}
	value := uint64(1)
	for end := time.Now().Add(time.Duration(seconds * 1e9)); time.Now().Before(end); {
		for i := range paths {
			before := time.Now()
			for times := 0; times < 20; times++ {
				value = paths[i].function(value)
			}
			paths[i].spent += time.Since(before)
		}
	}
	for _, path := range paths {
		fmt.Printf("stack %d %s\n", path.spent.Nanoseconds(), path.stack)
	}
	fmt.Printf("end\n")
	if value == 7 {
		fmt.Println(value)
	}
	io.Copy(io.Discard, in)
}
