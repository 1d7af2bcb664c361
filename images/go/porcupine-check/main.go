// porcupine-check decides whether histories of one register are linearizable, with Porcupine's own algorithm.
//
// The unit tests and scripts/bench-checks hold our decision against it; nothing that is shipped uses it.
// Standard input: one history a line, a JSON array of operations [f, value, call, return] with f = 0 write,
// 1 delete (value is ignored), 2 read; a read of "absent" has value -1; return -1: no answer came, so the operation
// may happen at any later time or never. Standard output: true or false for each line. Standard error, at
// the end: the seconds that the checking alone took.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	write = iota
	remove
	read
	absent int64 = -1
)

type input struct {
	f     int64
	value int64
}

var register = porcupine.Model{
	Init: func() interface{} { return absent },
	Step: func(state, in, _ interface{}) (bool, interface{}) {
		op := in.(input)
		switch op.f {
		case write:
			return true, op.value
		case remove:
			return true, absent
		default:
			return op.value == state.(int64), state
		}
	},
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	answers := bufio.NewWriter(os.Stdout)
	defer answers.Flush()
	var took time.Duration
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var rows [][4]int64
		if err := json.Unmarshal(line, &rows); err != nil {
			fmt.Fprintln(os.Stderr, "no history:", err)
			os.Exit(2)
		}
		history := make([]porcupine.Operation, len(rows))
		for number, row := range rows {
			end := row[3]
			if end < 0 {
				end = math.MaxInt64
			}
			history[number] = porcupine.Operation{ClientId: number, Input: input{row[0], row[1]}, Call: row[2], Return: end}
		}
		began := time.Now()
		answer := porcupine.CheckOperations(register, history)
		took += time.Since(began)
		fmt.Fprintln(answers, answer)
		if lines.Buffered() == 0 {
			answers.Flush()
		}
	}
	fmt.Fprintln(os.Stderr, took.Seconds())
}
