module chroma-qualify/images/porcupine-check

go 1.26.0

tool chroma-qualify/images/porcupine-check

require github.com/anishathalye/porcupine v1.3.1
