module reactorbench

go 1.19
