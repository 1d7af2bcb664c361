module chroma-qualify/images/pause

go 1.26.0

tool chroma-qualify/images/pause
