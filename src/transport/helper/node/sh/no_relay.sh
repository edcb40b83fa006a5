# A relay is not to be had in sh, which can open no connections. That is said in the records of a helper whose job is over, with a
# status that no other has.
decline() {
    printf "PCL1\nH v=1;h=sh;r=0;d=/;u=%s\nO 0\nE 0\nX 78\nQ\n" "$(id -u)"
}
