module github.com/strongroom/strongroom

go 1.26
